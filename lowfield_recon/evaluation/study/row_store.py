"""Results of a study as JSON lines, written as they come and never computed again."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from lowfield_recon.errors import DataError

FILE_NAME = "results.jsonl"


class RowStore:
    """What has been computed, by the hash of all that it depends on.

    Parameters
    ----------
    stream
        File that is open for appending and reading, in binary mode.

    Raises
    ------
    DataError
        If the file holds something else.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        """Read the whole lines."""
        self._stream = stream
        self._known = dict(self._read())

    def find(self, key: str) -> dict[str, Any] | None:
        """Return a result of this or an earlier run, or None."""
        return self._known.get(key)

    def store(self, key: str, result: dict[str, Any]) -> None:
        """Add a result as one line, which is on the disk when this returns."""
        self._known[key] = result
        line = json.dumps({"key": key, "result": result}, allow_nan=False, ensure_ascii=False)
        self._stream.write(f"{line}\n".encode())
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def _read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the whole lines, and cut off one that was interrupted while it was written."""
        self._stream.seek(0)
        end = 0
        for number, line in enumerate(self._stream, start=1):
            if not line.endswith(b"\n"):
                break
            try:
                entry = json.loads(line)
                key, result = entry["key"], entry["result"]
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"{FILE_NAME}, line {number}: is nothing that a study wrote; choose another "
                    "folder, or begin anew with --fresh."
                ) from error
            yield str(key), dict(result)
            end += len(line)
        self._stream.truncate(end)


@contextmanager
def open_row_store(folder: Path, *, is_fresh: bool = False) -> Iterator[RowStore]:
    """Open the results in a folder, for this process alone.

    Parameters
    ----------
    folder
        Existing folder.
    is_fresh
        Whether to forget what is there.

    Yields
    ------
        The results.

    Raises
    ------
    DataError
        If another process is writing there, or the file is something else.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with open_row_store(folder) as store:
    ...     store.store("a", {"ssim": 0.9})
    >>> with open_row_store(folder) as store:
    ...     store.find("a")
    {'ssim': 0.9}
    """
    with (folder / FILE_NAME).open("a+b") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(
                f"{folder.parent.name}: another study is writing into this folder; wait for it or "
                "choose another one."
            ) from error
        if is_fresh:
            stream.truncate(0)
        yield RowStore(stream)
