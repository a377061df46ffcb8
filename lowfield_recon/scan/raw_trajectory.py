"""k-space positions that lie beside a raw array."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.scan.arrays import read_array
from lowfield_recon.scan.axes import ORDER, arrange_axes
from lowfield_recon.scan.records import Shape

Floats = npt.NDArray[np.float32]

_NORMALISED = 0.5 + 1e-3


def read_trajectory(
    path: Path,
    key: str,
    axes: str | Sequence[str],
    data: npt.NDArray[Any],
    matrix: Shape | None,
    notes: list[str],
) -> tuple[Floats, Shape]:
    """Read k-space positions and bring them into cycles per field of view.

    Complex positions are ``kx + i ky``; real ones have a further axis (kx, ky) or (kx, ky, kz),
    last or first. Positions within ±0.5 are fractions of the matrix, larger ones cycles per field
    of view.

    Parameters
    ----------
    path
        The file with the samples.
    key
        Name of the array in that file, or the path of another file.
    axes
        Names of the axes of the samples.
    data
        Samples (contrast, repetition, slice, coil, k2, k1, k0).
    matrix
        Image size (z, y, x), or None for the number of readout samples in each direction.
    notes
        Assumptions made are appended here.

    Returns
    -------
        (kz, ky, kx) of shape (contrast, repetition, slice, k2, k1, k0, 3), broadcastable to the
        samples, and the image size.

    Raises
    ------
    DataError
        If positions are not finite, or larger than the matrix allows.
    UsageError
        If the shapes of positions and samples do not fit.
    """
    stored = _stored(path, key)
    components = _components(stored, axes, data)
    n_axes = len(components)
    largest = max(float(np.abs(component).max()) for component in components)
    if not np.isfinite(largest):
        raise DataError(
            f"{path.name}: the positions '{key}' hold NaN or infinite values; expected numbers."
        )
    n = int(data.shape[-1])
    shape = matrix or ((n if n_axes == 3 else 1), n, n)
    if matrix is None:
        notes.append(f"The image size {shape} (z, y, x) was taken from the {n} readout samples.")
    is_fraction = largest <= _NORMALISED
    notes.append(
        f"Positions reach {largest:.4g}; they were taken as "
        + ("fractions of the matrix." if is_fraction else "cycles per field of view.")
    )
    if not is_fraction and largest > 0.51 * max(shape):
        raise DataError(
            f"{path.name}: positions reach {largest:.4g}; expected at most 0.5, or half the "
            f"matrix {shape} in cycles per field of view. Convert them or give the matrix."
        )
    k = np.zeros((*components[0].shape, 3), dtype=np.float32)
    for i, component in enumerate(components):
        k[..., 2 - i] = component * (shape[2 - i] if is_fraction else 1)
    return k, shape


def _stored(path: Path, key: str) -> npt.NDArray[Any]:
    for other in (Path(key), path.parent / key):
        if other.is_file() or other.with_name(other.name + ".cfl").is_file():
            return read_array(other)
    return read_array(path, key)


def _components(
    stored: npt.NDArray[Any], axes: str | Sequence[str], data: npt.NDArray[Any]
) -> list[npt.NDArray[Any]]:
    """Split positions into kx, ky (and kz), each (contrast, repetition, slice, k2, k1, k0)."""
    sizes = dict(zip(ORDER, data.shape, strict=True))
    given = axes.replace(",", " ").split() if isinstance(axes, str) else list(axes)
    words = [word for word in given if word != "coil" and sizes[word] > 1]
    stored = stored.reshape(tuple(n for n in stored.shape if n != 1))
    for names in ([word for word in words if word in ("x", "y", "z")], words):
        parts = _split(stored, tuple(sizes[name] for name in names))
        if parts:
            return [arrange_axes(part, names)[:, :, :, 0] for part in parts]
    expected = tuple(sizes[word] for word in words if word in ("x", "y", "z"))
    raise UsageError(
        f"positions of shape {stored.shape} do not fit samples of shape {expected} along "
        f"{' '.join(words)}; expected the same shape, complex, or real with a further axis of 2 "
        "or 3."
    )


def _split(stored: npt.NDArray[Any], shape: tuple[int, ...]) -> list[npt.NDArray[Any]]:
    """Return the components of positions over samples of this shape, none if they do not fit."""
    if stored.shape == shape and np.iscomplexobj(stored):
        return [stored.real, stored.imag]
    is_real = not np.iscomplexobj(stored) or not np.any(stored.imag)
    for axis in (-1, 0):
        rest = tuple(np.delete(stored.shape, axis)) if stored.ndim else ()
        if is_real and rest == shape and stored.shape[axis] in (2, 3):
            return [np.take(stored.real, i, axis=axis) for i in range(stored.shape[axis])]
    return []
