"""One file over HTTP: continued where it stopped, tried again where that may help, checked."""

from __future__ import annotations

import http.client
import re
import shutil
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO, TYPE_CHECKING

from lowfield_recon.data.checksums import describe_damage, human_size
from lowfield_recon.data.manifests import check_url
from lowfield_recon.data.partial import Partial
from lowfield_recon.data.web import PassingError, RangeRefusedError, open_url, reason_of
from lowfield_recon.errors import DataError, UsageError

if TYPE_CHECKING:
    from urllib.response import addinfourl

Report = Callable[[int, int | None], None]
"""Called with the bytes that have arrived, and how many there will be or None."""

_CHUNK_BYTES = 1 << 16
_SPACE_CHECK_BYTES = 1 << 26
_SPARE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait for a server, and how often to try again without getting further."""

    timeout_s: float = 30.0
    """Longest silence of the server [s]."""
    attempts: int = 5
    """Attempts in a row that bring nothing new."""
    first_wait_s: float = 1.0
    """Wait before the second attempt [s]; doubled each time."""
    longest_wait_s: float = 60.0
    """Longest wait [s], also when the server asks for more."""


def download(
    url: str,
    target: str | Path,
    *,
    size_bytes: int | None = None,
    sha256: str | None = None,
    md5: str | None = None,
    patience: Patience | None = None,
    report: Report | None = None,
) -> Path:
    """Download a file, continuing what an earlier call left behind.

    What arrives is kept in `NAME.part` beside the target and takes the target's name only when its
    size and checksum are right. A part from an earlier call is continued with an HTTP range when
    the server's mark of the version (ETag or date) is the same, or a checksum will tell.

    Parameters
    ----------
    url
        HTTP or HTTPS address; redirects stay within these, and never go from HTTPS to HTTP.
    target
        Where the file is to lie; its folder must exist.
    size_bytes, sha256, md5
        What the file must be, where known.
    patience
        Timeouts and attempts; None takes the defaults.
    report
        Told about every piece that arrives.

    Returns
    -------
        `target`.

    Raises
    ------
    UsageError
        If the address is of another kind.
    DataError
        If the server refuses, the connection keeps breaking, the disk is too small, or what arrived
        is not the file that was expected (it is then removed).

    Examples
    --------
    >>> download("ftp://example.org/a.h5", "a.h5")
    Traceback (most recent call last):
        ...
    lowfield_recon.errors.UsageError: 'ftp://example.org/a.h5' is no plain http or https address.
    """
    try:
        check_url(url)
    except ValueError as error:
        raise UsageError(f"{error}.") from error
    target, patience = Path(target), patience or Patience()
    partial = Partial.of(target)
    has_checksum = sha256 is not None or md5 is not None
    failures = 0
    while size_bytes is None or partial.size() != size_bytes or not has_checksum:
        before = partial.size()
        try:
            _continue(url, partial, size_bytes, has_checksum, patience, report)
            break
        except PassingError as fault:
            if isinstance(fault, RangeRefusedError):
                partial.remove()
            failures = 1 if partial.size() > before else failures + 1
            if failures >= patience.attempts:
                times = f"{failures} attempts in a row" if failures > 1 else "one attempt"
                raise DataError(
                    f"{target.name}: {fault}, {times}; what has arrived "
                    f"({human_size(partial.size())}) is kept: run the same command to continue."
                ) from fault
            doubled = patience.first_wait_s * 2 ** (failures - 1)
            time.sleep(min(max(doubled, fault.wait_s), patience.longest_wait_s))
    damage = describe_damage(partial.path, size_bytes=size_bytes, sha256=sha256, md5=md5)
    if damage is not None:
        partial.remove()
        raise DataError(
            f"{target.name}: what arrived is not the expected file ({damage}) and was removed; try "
            "again, and if it stays so, the file has changed at its source."
        )
    partial.finish(target)
    return target


def _continue(
    url: str,
    partial: Partial,
    size_bytes: int | None,
    has_checksum: bool,
    patience: Patience,
    report: Report | None,
) -> None:
    """Make one request and append what it brings."""
    start, headers = partial.size(), {"Accept-Encoding": "identity"}
    validator = partial.validator(url)
    if start and (validator or has_checksum):
        headers["Range"] = f"bytes={start}-"
        if validator:
            headers["If-Range"] = validator
    with open_url(url, headers, name=_name(partial), timeout_s=patience.timeout_s) as response:
        start, total = _position(response, start if "Range" in headers else 0)
        if size_bytes is not None and total is not None and total != size_bytes:
            partial.remove()
            raise DataError(
                f"{_name(partial)}: the server has {total} bytes, expected {size_bytes}; the file "
                "has changed at its source."
            )
        total = size_bytes if total is None else total
        _check_space(partial, (total or start) - start)
        with partial.open(start) as stream:
            partial.remember(url, _validator(response.headers))
            _copy(response, stream, partial, start, total, report)
    if total is not None and partial.size() < total:
        raise PassingError(f"the connection broke at {human_size(partial.size())}")


def _copy(
    response: addinfourl,
    stream: IO[bytes],
    partial: Partial,
    arrived: int,
    total: int | None,
    report: Report | None,
) -> None:
    checked = arrived
    while chunk := _read(response):
        stream.write(chunk)
        arrived += len(chunk)
        if total is not None and arrived > total:
            partial.remove()
            raise DataError(
                f"{_name(partial)}: the server sends more than {total} bytes, as many as were "
                "expected; what arrived was removed."
            )
        if arrived - checked > _SPACE_CHECK_BYTES:
            _check_space(partial, _CHUNK_BYTES)
            checked = arrived
        if report is not None:
            report(arrived, total)


def _read(response: addinfourl) -> bytes:
    try:
        return response.read(_CHUNK_BYTES)
    except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
        raise PassingError(f"the connection broke ({reason_of(error)})") from error


def _position(response: addinfourl, asked: int) -> tuple[int, int | None]:
    """Return where the answer begins within the file, and the size of the whole file."""
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        match = re.match(r"bytes (\d+)-\d+/(\d+|\*)$", response.headers.get("Content-Range", ""))
        if match is None or int(match[1]) != asked:
            raise RangeRefusedError("the server continues at another place than it was asked to")
        return asked, None if match[2] == "*" else int(match[2])
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _validator(headers: Message) -> str | None:
    """Return the server's mark of this version, fit for `If-Range`: a strong ETag, else a date."""
    tag = headers.get("ETag")
    if tag is not None and not tag.startswith("W/"):
        return str(tag)
    return headers.get("Last-Modified")


def _check_space(partial: Partial, needed: int) -> None:
    free = shutil.disk_usage(partial.path.parent).free
    if needed + _SPARE_BYTES > free:
        raise DataError(
            f"{_name(partial)}: needs {human_size(needed)} more, and the disk has "
            f"{human_size(free)} free; free some space or choose another folder with -o."
        )


def _name(partial: Partial) -> str:
    return partial.path.name.removesuffix(".part")
