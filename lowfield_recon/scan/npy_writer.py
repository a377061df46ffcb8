"""Images as one NumPy array, appended one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lowfield_recon.files import atomic_path

if TYPE_CHECKING:
    from lowfield_recon.scan.writers import Layout


@contextmanager
def open_npy(path: Path, layout: Layout) -> Iterator[Callable[[npt.NDArray[np.generic]], None]]:
    """Open a `.npy` file of shape `(volumes, slices * z, y, x)`.

    Parameters
    ----------
    path
        Name of the file.
    layout
        Number and shape of the images.

    Yields
    ------
        Function that writes the next image `(z, y, x)`.
    """
    n_z, n_y, n_x = layout.shape
    dtype = np.dtype(np.complex64 if layout.part == "complex" else np.float32)
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": (layout.n_volumes, layout.n_slices * n_z, n_y, n_x),
    }
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)

        def write(image: npt.NDArray[np.generic]) -> None:
            stream.write(np.ascontiguousarray(image, dtype=dtype).data)

        yield write
