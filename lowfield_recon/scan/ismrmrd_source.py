"""The samples of an ISMRMRD scan: one image is gathered from the file when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from lowfield_recon.scan.orientation import SliceOrientation, geometry_of
from lowfield_recon.scan.placement import Placement
from lowfield_recon.scan.raw_reader import acquired_samples
from lowfield_recon.scan.readouts import ReadoutFile, Samples
from lowfield_recon.scan.records import RawKSpace, ScanHeader

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IsmrmrdSource:
    """Reads images of an ISMRMRD file; all arrays run over the readouts that were selected."""

    file: ReadoutFile
    header: ScanHeader

    indices: Ints
    """Position in the file of each selected readout, increasing."""

    n_stored: Ints
    """Stored samples of each readout."""

    discard_pre: Ints
    """Leading samples to be left out of each readout."""

    n_samples: int
    """Kept samples of every readout."""

    images: Sequence[Ints]
    """Selected readouts of each image."""

    calibration: Sequence[Ints]
    """Selected calibration readouts of each image."""

    orientations: Sequence[SliceOrientation]
    """Orientation of each image."""

    slice_spacing_m: float | None

    placement: Placement | None = None
    """Position of each readout on the grid; None for stored trajectories."""

    trajectory_scale: tuple[float, ...] = ()
    """Factors to cycles per encoded field of view of the stored dimensions in use (x, y, z)."""

    partition: Ints | None = None
    """kz of each readout in cycles per field of view where the trajectory stores only x and y."""

    n_stored_dimensions: int = 0

    def read(self, index: int) -> RawKSpace:
        """Read the samples of one image.

        Parameters
        ----------
        index
            Which image.

        Returns
        -------
            Samples on the grid or along the stored trajectory.
        """
        matrix = self.header.encoded_matrix if self.placement is None else self.placement.shape
        geometry = geometry_of(
            self.orientations[index],
            fov_m=self.header.encoded_fov_m,
            matrix=matrix,
            slice_spacing_m=self.slice_spacing_m,
        )
        chosen = self.images[index]
        if self.placement is None:
            samples, trajectory = self._along_trajectory(chosen)
            return RawKSpace(data=samples, trajectory=trajectory, geometry=geometry)
        data, mask = self._on_grid(self.placement, chosen)
        extra = self.calibration[index]
        if extra.size == 0:
            return RawKSpace(data=data, mask=mask, geometry=geometry)
        calibration, calibration_mask = self._on_grid(self.placement, extra)
        return RawKSpace(
            data=data,
            mask=mask,
            calibration=calibration,
            calibration_mask=calibration_mask,
            geometry=geometry,
        )

    def sampling_fraction(self) -> float | None:
        """Return the acquired part of the grid of the first image, None for stored trajectories."""
        mask = self.read(0).mask
        return None if mask is None else float(mask.float().mean())

    def _samples(self, chosen: Ints) -> Iterator[tuple[Ints, Samples]]:
        """Read readouts a block at a time, without the samples to be discarded."""
        for n_stored in np.unique(self.n_stored[chosen]):
            members = chosen[self.n_stored[chosen] == n_stored]
            for part, block in self.file.blocks(
                self.indices[members], self.header.n_coils, int(n_stored)
            ):
                first = self.discard_pre[members[part]]
                if (first == first[0]).all():
                    yield members[part], block[:, :, first[0] : first[0] + self.n_samples]
                    continue
                keep = first[:, None] + np.arange(self.n_samples)
                yield members[part], np.take_along_axis(block, keep[:, None, :], axis=2)

    def _on_grid(self, placement: Placement, chosen: Ints) -> tuple[torch.Tensor, torch.Tensor]:
        """Place readouts on the grid; readouts of the same line are averaged."""
        k2, k1, k0 = placement.shape
        n = self.n_samples
        lines, columns = placement.part * k1 + placement.row, placement.column
        is_whole_line = n == k0 and not columns[chosen].any()
        is_simple = np.unique(lines[chosen]).size == chosen.size
        grid = np.zeros((self.header.n_coils, k2 * k1, k0), dtype=np.complex64)
        count = np.zeros((k2 * k1, 1 if is_whole_line else k0), dtype=np.int32)
        for members, block in self._samples(chosen):
            backwards = placement.is_reversed[members]
            if backwards.any():
                block[backwards] = block[backwards][..., ::-1]
            self._put(grid, count, block, lines[members], columns[members], is_simple)
        if not is_simple:
            grid /= np.maximum(count, 1)
        shape = (1, 1, k2, k1, count.shape[-1])
        data = torch.from_numpy(grid.reshape(1, -1, k2, k1, k0))
        mask = torch.from_numpy((count > 0).reshape(shape))
        # A receiver never gives an exact zero in all coils: such samples were filled in.
        if np.count_nonzero(grid[0]) == count.astype(bool).sum() * (k0 // count.shape[-1]):
            return data, mask
        acquired = acquired_samples(data)
        return data, mask & acquired if acquired.shape[-1] > 1 else mask

    def _put(
        self,
        grid: Samples,
        count: npt.NDArray[np.int32],
        block: Samples,
        lines: Ints,
        columns: Ints,
        is_simple: bool,
    ) -> None:
        """Put readouts `(readouts, coils, samples)` on their lines; add where lines repeat."""
        n = self.n_samples
        if is_simple and (columns == columns[0]).all():
            where = slice(columns[0], columns[0] + n)
            for coil, samples in zip(grid, block.swapaxes(0, 1), strict=True):
                coil[lines, where] = samples
            count[lines, where if count.shape[-1] > 1 else slice(None)] = 1
            return
        for line, c, samples in zip(lines.tolist(), columns.tolist(), block, strict=True):
            grid[:, line, c : c + n] += samples
            count[line, slice(c, c + n) if count.shape[-1] > 1 else slice(None)] += 1

    def _along_trajectory(self, chosen: Ints) -> tuple[torch.Tensor, torch.Tensor]:
        """Read samples `(1, coils, 1, readouts, samples)` and positions in order of acquisition."""
        groups = list(self._samples(chosen))
        order = np.argsort(np.concatenate([members for members, _ in groups]))
        samples = np.concatenate([block for _, block in groups])[order]
        positions = np.zeros((chosen.size, self.n_samples, 3), dtype=np.float32)
        n_used = len(self.trajectory_scale)
        for n_stored in np.unique(self.n_stored[chosen]):
            where = np.flatnonzero(self.n_stored[chosen] == n_stored)
            members = chosen[where]
            stored = self.file.trajectories(
                self.indices[members], int(n_stored), self.n_stored_dimensions
            )
            keep = self.discard_pre[members, None] + np.arange(self.n_samples)
            kept = np.take_along_axis(stored, keep[:, :, None], axis=1)[..., :n_used]
            scaled = kept * np.array(self.trajectory_scale, dtype=np.float32)
            positions[where, :, 3 - n_used :] = scaled[..., ::-1]
        if self.partition is not None:
            positions[..., 0] = self.partition[chosen, None]
        data = np.ascontiguousarray(samples.transpose(1, 0, 2))
        return torch.from_numpy(data)[None, :, None], torch.from_numpy(positions)[None, None]
