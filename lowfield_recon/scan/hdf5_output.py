"""HDF5 files to be written, on disks that may become full.

The HDF5 library ends the process when it closes a file whose last values it could not write. It is
therefore given a stream on which writing always succeeds; what went wrong is raised afterwards.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


class OutputStream(io.FileIO):
    """A file that remembers the first error of the system instead of raising it."""

    failure: OSError | None = None

    def write(self, values: ReadableBuffer, /) -> int:
        """Write everything, or remember why not."""
        view = memoryview(values).cast("B")
        start, done = self.tell(), 0
        try:
            while done < len(view):
                done += super().write(view[done:]) or 0
        except OSError as error:
            self._remember(error)
            self.seek(start + len(view))
        return len(view)

    def readinto(self, values: WriteableBuffer, /) -> int:
        """Read; what was never written is zero."""
        view = memoryview(values).cast("B")
        done = super().readinto(view) or 0
        view[done:] = bytes(len(view) - done)
        return len(view)

    def truncate(self, size: int | None = None, /) -> int:
        """Set the length of the file, or remember why that failed."""
        try:
            return super().truncate(size)
        except OSError as error:
            self._remember(error)
            return self.tell() if size is None else size

    def check(self) -> None:
        """Raise the first error, if there was one.

        Raises
        ------
        OSError
            If something could not be written.
        """
        if self.failure is not None:
            raise self.failure

    def _remember(self, error: OSError) -> None:
        if self.failure is None:
            self.failure = error if error.errno is None else OSError(*error.args[:2], self.name)


@contextmanager
def hdf5_output(path: Path, *, is_new: bool = True) -> Iterator[OutputStream]:
    """Open a file for `h5py.File(stream, "w")`, or `"a"` where it is not new.

    Parameters
    ----------
    path
        The file.
    is_new
        Whether it begins empty.

    Yields
    ------
        The stream; `h5py` must have closed its file when the block ends.

    Raises
    ------
    OSError
        If something could not be written, whatever the HDF5 library made of it.

    Examples
    --------
    >>> import h5py, tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.h5"
    >>> with hdf5_output(path) as stream, h5py.File(stream, "w") as file:
    ...     file["a"] = 3.0
    >>> with h5py.File(path, "r") as file:
    ...     float(file["a"][()])
    3.0
    """
    stream = OutputStream(path, "w+" if is_new else "r+")
    try:
        yield stream
    finally:
        stream.close()
        stream.check()
