"""Samples and targets of a file of the fastMRI family, read one slice at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from lowfield_recon.errors import DataError
from lowfield_recon.scan.fastmri_file import read_slice
from lowfield_recon.scan.orientation import geometry_of
from lowfield_recon.scan.raw_reader import acquired_samples
from lowfield_recon.scan.records import Extent, RawKSpace, Shape

if TYPE_CHECKING:
    from lowfield_recon.problem import Geometry


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FastMriSource:
    """Reads slices; the file is opened for each of them, so that workers can share the scan."""

    path: Path

    matrix: Shape
    """Encoded matrix (1, k1, k0)."""

    columns: npt.NDArray[np.bool_]
    """Phase encodings that may count as acquired, `(k1,)`."""

    is_readout_last: bool = False
    """Whether the readout is the last stored axis; in fastMRI files it is the one before."""

    is_conjugated: bool = False
    """Whether samples are conjugated on reading, see `lowfield_recon.scan.sign`."""

    targets: Mapping[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    """Stored size of each target."""

    fov_m: Extent | None = None
    """Encoded field of view (z, y, x) [m], or None."""

    spacing_m: float | None = None
    """Distance between slices, gap included [m], or None."""

    offset_m: Extent = (0.0, 0.0, 0.0)
    """Off-centre correction along x, y, z [m]."""

    def read(self, index: int) -> RawKSpace:
        """Read the samples of one slice.

        Parameters
        ----------
        index
            Which slice.

        Returns
        -------
            Samples `(1, coils, 1, k1, k0)`; zero-filled and masked phase encodings are not in the
            mask.

        Raises
        ------
        DataError
            If samples are not finite, or all zero.
        """
        stored = self.ordered(read_slice(self.path, "kspace", index))
        data = torch.from_numpy(np.conj(stored) if self.is_conjugated else stored)[None, :, None]
        self._check_finite(data, index)
        held = acquired_samples(data)
        if not bool(held.any()):
            raise DataError(
                f"{self.path.name}: all samples of slice {index} are zero; expected k-space. "
                "Choose other slices, or copy the file again."
            )
        columns = torch.from_numpy(self.columns)[:, None]
        if not bool(columns.all()):
            held, data = held & columns, data * columns
        return RawKSpace(data=data, mask=held, geometry=self._geometry())

    def sampling_fraction(self) -> float | None:
        """Return the acquired part of the grid of the first slice."""
        mask = self.read(0).mask
        return None if mask is None else float(mask.float().mean())

    def read_target(self, index: int, name: str) -> torch.Tensor:
        """Read the target of one slice.

        Parameters
        ----------
        index
            Which slice.
        name
            Which target.

        Returns
        -------
            Image `(1, 1, 1, y, x)`, float32, oriented as reconstructions are.

        Raises
        ------
        DataError
            If it cannot be read, or holds values that are not finite.
        """
        image = torch.from_numpy(self.ordered(read_slice(self.path, name, index)))
        if not bool(torch.isfinite(image).all()):
            raise DataError(
                f"{self.path.name}: '{name}' of slice {index} holds NaN or infinite values; "
                "expected finite numbers. Copy the file again."
            )
        return image[None, None, None]

    def ordered(self, stored: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Bring stored axes into the order phase encoding, readout.

        Parameters
        ----------
        stored
            Array whose last two axes are those of the file.

        Returns
        -------
            Contiguous array `(..., k1, k0)`.
        """
        arranged = stored if self.is_readout_last else stored.swapaxes(-1, -2)
        return np.ascontiguousarray(arranged)

    def _geometry(self) -> Geometry | None:
        geometry = geometry_of(
            None, fov_m=self.fov_m, matrix=self.matrix, slice_spacing_m=self.spacing_m
        )
        return None if geometry is None else dataclasses.replace(geometry, position_m=self.offset_m)

    def _check_finite(self, data: torch.Tensor, index: int) -> None:
        if bool(torch.isfinite(torch.view_as_real(data)).all()):
            return
        bad = int((~torch.isfinite(torch.view_as_real(data))).any(dim=-1).sum())
        raise DataError(
            f"{self.path.name}: {bad} of {data.numel()} samples of slice {index} are NaN or "
            "infinite; expected finite numbers. Copy the file again."
        )
