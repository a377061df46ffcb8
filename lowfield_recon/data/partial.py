"""The part of a download that has arrived, kept so that the next attempt can continue it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lowfield_recon.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Partial:
    """What has arrived of a file: `NAME.part`, and beside it which version of which address."""

    path: Path
    """The bytes so far."""

    @classmethod
    def of(cls, target: Path) -> Partial:
        """Return the partial file that belongs to a download's final name."""
        return cls(path=target.with_name(f"{target.name}.part"))

    @property
    def _note(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    def size(self) -> int:
        """Return how many bytes have arrived."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def validator(self, url: str) -> str | None:
        """Return the server's mark of the version that was begun, if it came from this address."""
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if not isinstance(note, dict) or note.get("url") != url:
            return None
        mark = note.get("validator")
        return mark if isinstance(mark, str) else None

    def remember(self, url: str, validator: str | None) -> None:
        """Write down what is being downloaded."""
        self._note.write_text(json.dumps({"url": url, "validator": validator}), encoding="utf-8")

    def open(self, start: int) -> BinaryIO:
        """Open for writing from `start` on, unless another process is doing the same.

        Raises
        ------
        DataError
            If another process holds the file.
        """
        stream = self.path.open("ab")
        try:
            _lock(stream, self.path)
            stream.truncate(start)
        except BaseException:
            stream.close()
            raise
        return stream

    def remove(self) -> None:
        """Forget what has arrived."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def finish(self, target: Path) -> None:
        """Give the whole file its final name."""
        self.path.replace(target)
        self._note.unlink(missing_ok=True)


def _lock(stream: BinaryIO, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # not on this system: the checksum still tells
        return
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise DataError(
            f"{path.name}: another process is downloading it; wait for that one, or end it."
        ) from error
