"""Scans from raw arrays: the owner names the axes; samples of exactly zero were not acquired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.scan.arrays import bart_dimensions, read_array
from lowfield_recon.scan.axes import arrange_axes, example_axes
from lowfield_recon.scan.header_physics import HZ_PER_TESLA
from lowfield_recon.scan.orientation import geometry_of
from lowfield_recon.scan.raw_trajectory import read_trajectory
from lowfield_recon.scan.records import Extent, ImageIndex, RawKSpace, Scan, ScanHeader, Shape

_BART_AXES = {0: "x", 1: "y", 2: "z", 3: "coil", 5: "contrast", 10: "repetition", 13: "slice"}
_LONELY_ZEROS = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class RawOptions:
    """What the caller says about a raw array."""

    axes: str | Sequence[str] | None = None
    """Names of its axes, see `arrange_axes`."""

    key: str | None = None
    """Name of the array in the file."""

    image_space: bool = False
    """Whether it holds coil images."""

    field_strength_t: float | None = None
    """Main field [T]."""

    fov_m: tuple[float | None, float, float] | None = None
    """Field of view (z, y, x) [m]; along z for slices their spacing."""

    trajectory_key: str | None = None
    """Name of the array with k-space positions in the same file, or the path of another file."""

    matrix: Shape | None = None
    """Image size (z, y, x) of a non-Cartesian scan."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawSource:
    """Reads images out of an array."""

    array: npt.NDArray[Any]
    """(contrast, repetition, slice, coil, k2, k1, k0), possibly mapped from the file."""

    where: str
    matrix: Shape
    fov_m: Extent | None = None
    image_space: bool = False
    trajectory: npt.NDArray[np.float32] | None = None
    """(contrast, repetition, slice, k2, k1, k0, 3), broadcastable, cycles per field of view."""

    def read(self, index: int) -> RawKSpace:
        """Read the samples of one image.

        Parameters
        ----------
        index
            Which image; slices are innermost.

        Returns
        -------
            Samples; those that are zero in all coils count as not acquired.

        Raises
        ------
        DataError
            If samples are not finite, or all zero.
        """
        position = np.unravel_index(index, self.array.shape[:3])
        data = torch.from_numpy(np.array(self.array[position], dtype=np.complex64, order="C"))[None]
        self._check(data, index)
        geometry = geometry_of(None, fov_m=self.fov_m, matrix=self.matrix, slice_spacing_m=None)
        if self.trajectory is not None:
            full = np.broadcast_to(
                self.trajectory, (*self.array.shape[:3], *self.trajectory.shape[3:])
            )
            positions = torch.from_numpy(full[position].copy())[None]
            return RawKSpace(data=data, trajectory=positions, geometry=geometry)
        if self.image_space:
            from lowfield_recon.operators.fourier import centred_fft

            data = centred_fft(data, tuple(d for d in (-3, -2, -1) if data.shape[d] > 1))
            mask = torch.ones(1, 1, *data.shape[-3:-1], 1, dtype=torch.bool)
        else:
            mask = acquired_samples(data)
        return RawKSpace(data=data, mask=mask, geometry=geometry)

    def sampling_fraction(self) -> float | None:
        """Return the acquired part of the grid of the first image, None along a trajectory."""
        if self.trajectory is not None:
            return None
        mask = self.read(0).mask
        return None if mask is None else float(mask.float().mean())

    def _check(self, data: torch.Tensor, index: int) -> None:
        bad = int((~torch.isfinite(torch.view_as_real(data))).any(dim=-1).sum())
        if bad:
            raise DataError(
                f"{self.where}: {bad} of {data.numel()} samples of image {index} are NaN or "
                "infinite; expected finite numbers. Mend them, or set samples that were not "
                "acquired to zero."
            )
        if not bool((data != 0).any()):
            raise DataError(
                f"{self.where}: all samples of image {index} are zero; expected k-space. Check "
                "key and axes."
            )


def load_raw(path: Path, format_name: str, options: RawOptions) -> Scan:
    """Make a scan of a raw array.

    Parameters
    ----------
    path
        The file.
    format_name
        Its format.
    options
        What the caller says about it.

    Returns
    -------
        The scan.

    Raises
    ------
    DataError
        If the array is empty or not numeric.
    UsageError
        If axes are missing or do not fit.
    """
    array = read_array(path, options.key)
    notes: list[str] = []
    axes = _axes(path, format_name, array, options, notes)
    arranged = arrange_axes(array, axes)
    shape = arranged.shape
    matrix: Shape = (shape[4], shape[5], shape[6])
    trajectory = None
    if options.trajectory_key is not None:
        trajectory, matrix = read_trajectory(
            path, options.trajectory_key, axes, arranged, options.matrix, notes
        )
    if not np.iscomplexobj(array):
        notes.append("The array is real; its values were taken as the real part.")
    if options.image_space:
        notes.append("The array holds coil images; k-space is their centred Fourier transform.")
        if trajectory is not None:
            raise UsageError(
                f"{path.name}: coil images have no trajectory; leave one of the two out."
            )
    elif trajectory is None:
        notes.append("Samples that are zero in all coils count as not acquired.")
    header = _header(options, matrix, shape[3], trajectory is not None, notes)
    return Scan(
        path=path,
        format=format_name,
        header=header,
        images=tuple(
            ImageIndex(contrast=c, repetition=r, slice=s) for c, r, s in np.ndindex(shape[:3])
        ),
        source=RawSource(
            array=arranged,
            where=path.name,
            matrix=matrix,
            fov_m=header.encoded_fov_m,
            image_space=options.image_space,
            trajectory=trajectory,
        ),
        n_slices=shape[2],
        assumptions=tuple(notes),
    )


def _header(
    options: RawOptions, matrix: Shape, n_coils: int, has_trajectory: bool, notes: list[str]
) -> ScanHeader:
    fov_m = _full_fov(options.fov_m, matrix, notes)
    strength = options.field_strength_t
    return ScanHeader(
        encoded_matrix=matrix,
        recon_matrix=matrix,
        encoded_fov_m=fov_m,
        recon_fov_m=fov_m,
        field_strength_t=strength,
        larmor_frequency_hz=None if strength is None else HZ_PER_TESLA * strength,
        trajectory="other" if has_trajectory else "cartesian",
        n_coils=n_coils,
    )


def acquired_samples(data: torch.Tensor) -> torch.Tensor:
    """Find which samples were acquired: those that are not exactly zero in every coil.

    Lines count as a whole when at most 1 % of the samples of the acquired lines are zero.

    Parameters
    ----------
    data
        k-space `(1, coils, k2, k1, k0)`.

    Returns
    -------
        Bool `(1, 1, k2, k1, 1)` where lines are whole, otherwise `(1, 1, k2, k1, k0)`.

    Examples
    --------
    >>> kspace = torch.ones(1, 2, 1, 4, 8, dtype=torch.complex64)
    >>> kspace[:, :, :, 1] = 0
    >>> acquired_samples(kspace).flatten().tolist()
    [True, False, True, True]
    """
    acquired = (data != 0).any(dim=1, keepdim=True)
    lines = acquired.any(dim=-1, keepdim=True)
    missing = int((lines & ~acquired).sum())
    is_whole = missing <= _LONELY_ZEROS * int(lines.sum()) * acquired.shape[-1]
    return lines if is_whole else acquired


def _axes(
    path: Path, format_name: str, array: npt.NDArray[Any], options: RawOptions, notes: list[str]
) -> str | Sequence[str]:
    if options.axes is not None:
        return options.axes
    if format_name == "bart" and options.trajectory_key is None:
        sizes = bart_dimensions(path)
        used = [i for i, n in enumerate(sizes) if n > 1]
        if sizes[0] > 1 and all(i in _BART_AXES for i in used):
            notes.append("Axes were taken in BART's own order: read, phase 1, phase 2, coils.")
            return [_BART_AXES[i] for i in used]
    raise UsageError(
        f"{path.name}: holds an array of shape {' x '.join(map(str, array.shape))} whose axes are "
        "not known; "
        f'name them in its own order, e.g. --axes "{example_axes(array.shape)}" (x is the readout).'
    )


def _full_fov(
    fov_m: tuple[float | None, float, float] | None, matrix: Shape, notes: list[str]
) -> Extent | None:
    if fov_m is None:
        return None
    z, y, x = fov_m
    if z is None:
        z = matrix[0] * y / matrix[1]
        notes.append(
            f"No field of view along z was given; voxels of {1e3 * y / matrix[1]:.3g} mm were "
            "taken."
        )
    if not all(0 < length < 100 for length in (z, y, x)):
        raise UsageError(f"fov_m: expected three lengths in metres along z, y, x, got {fov_m}.")
    return z, y, x
