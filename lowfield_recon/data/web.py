"""Asking a web server for a file: HTTP and HTTPS only, and what its answers mean."""

from __future__ import annotations

import http.client
import socket
import ssl
from http import HTTPStatus
from typing import IO, TYPE_CHECKING
from urllib import error as url_error
from urllib import request as url_request

from lowfield_recon import __version__
from lowfield_recon.data.manifests import check_url
from lowfield_recon.errors import DataError

if TYPE_CHECKING:
    from urllib.response import addinfourl

_MAY_PASS = frozenset({408, 425, 429, 500, 502, 503, 504})


class PassingError(Exception):
    """Something that another attempt may overcome."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s
        """How long the server asks to wait [s]."""


class RangeRefusedError(PassingError):
    """The server cannot continue what was begun."""


def open_url(url: str, headers: dict[str, str], *, name: str, timeout_s: float) -> addinfourl:
    """Ask for a file, and sort what can go wrong into passing and lasting.

    Parameters
    ----------
    url
        HTTP or HTTPS address; redirects stay within these, and never go from HTTPS to HTTP.
    headers
        Headers to send.
    name
        Name of the file, for messages.
    timeout_s
        Longest silence of the server [s].

    Returns
    -------
        The open answer.

    Raises
    ------
    PassingError
        If another attempt may help.
    DataError
        If the server refuses, is not known or not trusted, or redirects to elsewhere than the web.
    ValueError
        If the address is of another kind.

    Examples
    --------
    >>> open_url("file:///etc/hostname", {}, name="hostname", timeout_s=5)
    Traceback (most recent call last):
        ...
    ValueError: 'file:///etc/hostname' is no plain http or https address
    """
    agent = f"lowfield-recon/{__version__}"
    request = url_request.Request(  # noqa: S310 - the scheme is checked
        check_url(url), headers={"User-Agent": agent, **headers}
    )
    try:
        response: addinfourl = _opener().open(request, timeout=timeout_s)
    except url_error.HTTPError as error:
        with error:
            raise _explain_status(error, name) from error
    except url_error.URLError as error:
        raise _explain_failure(error.reason, name, request.host) from error
    except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise _explain_failure(error, name, request.host) from error
    return response


def reason_of(error: object) -> str:
    """Return what an error says, or its name where it says nothing.

    Parameters
    ----------
    error
        The error.

    Returns
    -------
        A few words.

    Examples
    --------
    >>> reason_of(TimeoutError())
    'TimeoutError'
    """
    return str(error) or type(error).__name__


def _explain_failure(reason: object, name: str, host: str) -> DataError | PassingError:
    if isinstance(reason, socket.gaierror):
        return DataError(f"{name}: the server {host} was not found; check the connection.")
    if isinstance(reason, ssl.SSLCertVerificationError):
        return DataError(
            f"{name}: the certificate of {host} is not trusted; check the computer's clock and its "
            "certificates."
        )
    return PassingError(f"no answer from {host} ({reason_of(reason)})")


def _explain_status(error: url_error.HTTPError, name: str) -> DataError | PassingError:
    if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return RangeRefusedError("the server cannot continue what was begun")
    if error.code in _MAY_PASS:
        wait = error.headers.get("Retry-After", "") if error.headers is not None else ""
        return PassingError(
            f"the server answers {error.code}", float(wait) if wait.isdecimal() else 0.0
        )
    if 300 <= error.code < 400:
        return DataError(f"{name}: the server redirects to where it must not ({error.reason}).")
    meaning = {401: "asks for a login", 403: "refuses", 404: "has no such file", 410: "removed it"}
    said = meaning.get(error.code, "refuses")
    return DataError(
        f"{name}: the server {said} ({error.code}); look at the data set's homepage for its "
        "present address."
    )


class _PlainRedirects(url_request.HTTPRedirectHandler):
    """Follow redirects to HTTP and HTTPS only, and never from HTTPS to HTTP."""

    def redirect_request(
        self,
        req: url_request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> url_request.Request | None:
        """Return the request to follow."""
        try:
            check_url(newurl)
        except ValueError as error:
            raise url_error.HTTPError(req.full_url, code, str(error), headers, fp) from error
        if req.type == "https" and not newurl.startswith("https:"):
            raise url_error.HTTPError(req.full_url, code, "https to http", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> url_request.OpenerDirector:
    """Build an opener that knows HTTP and HTTPS and nothing else: no files, no FTP."""
    opener = url_request.OpenerDirector()
    for handler in (
        url_request.ProxyHandler(),
        url_request.UnknownHandler(),
        url_request.HTTPHandler(),
        url_request.HTTPSHandler(),
        url_request.HTTPDefaultErrorHandler(),
        _PlainRedirects(),
        url_request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener
