"""A web server on this computer that behaves well, or badly in a chosen way."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from lowfield_recon.data import Patience

SIZE = 300_000


@dataclass
class Resource:
    """One file of the server, and how it is served."""

    content: bytes
    etag: str | None = '"one"'
    has_ranges: bool = True
    has_length: bool = True
    breaks: list[int] = field(default_factory=list)
    """After how many bytes the connection of the first, second, ... request is cut."""
    statuses: list[int] = field(default_factory=list)
    """Answers of the first requests instead of the file."""
    retry_after: str | None = None
    redirect: str | None = None
    silent_s: list[float] = field(default_factory=list)
    """How long the first requests wait before they are answered."""
    shifts: list[int] = field(default_factory=list)
    """By how many bytes the first ranges begin elsewhere than they were asked to."""
    pause_s: float = 0.0
    """Wait between pieces of 10 kB."""


class Site:
    """The server: its files, its address, and the requests that it saw."""

    def __init__(self) -> None:
        self.files: dict[str, Resource] = {}
        self.requests: list[tuple[str, str | None, str | None]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments: object) -> None:
                del arguments

            def do_GET(self) -> None:
                site.requests.append(
                    (self.path, self.headers.get("Range"), self.headers.get("If-Range"))
                )
                try:
                    site.answer(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def ranges(self) -> list[str | None]:
        return [asked for _path, asked, _mark in self.requests]

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/{name}"

    def add(self, name: str, content: bytes, **options: object) -> str:
        """Serve a file; the options are fields of `Resource`."""
        self.files[f"/{name}"] = Resource(content, **options)
        return self.url(name)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        resource = self.files.get(handler.path)
        if resource is None:
            handler.send_error(404)
            return
        if resource.silent_s:
            time.sleep(resource.silent_s.pop(0))
        if resource.redirect is not None or resource.statuses:
            handler.send_response(302 if resource.redirect else resource.statuses.pop(0))
            if resource.redirect is not None:
                handler.send_header("Location", resource.redirect)
            if resource.retry_after is not None:
                handler.send_header("Retry-After", resource.retry_after)
            handler.end_headers()
            return
        start = self._head(handler, resource)
        if start is None:
            return
        body = resource.content[start:]
        if resource.breaks:
            body = body[: resource.breaks.pop(0)]
        for i in range(0, len(body), 10_000):
            handler.wfile.write(body[i : i + 10_000])
            time.sleep(resource.pause_s)

    def _head(self, handler: BaseHTTPRequestHandler, resource: Resource) -> int | None:
        """Send the headers and return where the body begins."""
        total, start = len(resource.content), 0
        asked, mark = handler.headers.get("Range"), handler.headers.get("If-Range")
        if asked is not None and resource.has_ranges and mark in (None, resource.etag):
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            start += resource.shifts.pop(0) if resource.shifts else 0
            if start >= total:
                handler.send_error(416)
                return None
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        else:
            handler.send_response(200)
        if resource.has_length:
            handler.send_header("Content-Length", str(total - start))
        if resource.etag is not None:
            handler.send_header("ETag", resource.etag)
        handler.end_headers()
        return start


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Return a running server that no proxy stands before."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = Site()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def content() -> bytes:
    """Return the bytes of a file that does not repeat itself."""
    return np.random.default_rng(3).bytes(SIZE)


@pytest.fixture(scope="session")
def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def hasty() -> Patience:
    """Return the patience of a test."""
    return Patience(timeout_s=0.3, attempts=3, first_wait_s=0.001, longest_wait_s=0.01)
