"""From a scan to inverse problems: the steps of preparation, coil maps, noise level."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from typing import Literal, cast, overload

import torch

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.operators import kspace_operator
from lowfield_recon.prepare import estimate_coil_maps, estimate_noise_std
from lowfield_recon.prepare.coil_compression import CoilCompression, compress_coil_maps
from lowfield_recon.prepare.intensity import IntensityScale
from lowfield_recon.prepare.partial_fourier import PartialFourierMethod
from lowfield_recon.problem import InverseProblem
from lowfield_recon.scan.choices import (
    CoilMapChoice,
    check_coil_maps,
    check_words,
    image_matrix,
    usable_noise,
)
from lowfield_recon.scan.kspace_checks import KSpaceChecks, check_kspace
from lowfield_recon.scan.kspace_steps import completed, compressed, compressing, moved, scale_of
from lowfield_recon.scan.preparation import (
    CALIBRATION_WIDTH,
    Undersampling,
    fewer_readouts,
    gridded,
    is_complete,
    sampled_width,
    undersampled,
    whitened,
    without_oversampling,
)
from lowfield_recon.scan.records import RawKSpace, Scan, Shape
from lowfield_recon.scan.step_sentences import (
    compression_sentence,
    field_of_view_sentences,
    noise_sentence,
    sampling_sentences,
)
from lowfield_recon.scan.stored_coil_maps import (
    stated_noise_std,
    stored_coil_maps,
    stored_sentences,
)

__all__ = ["CoilCompression", "CoilMapChoice", "Problems", "Undersampling"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Prepared:
    """Samples of one image after every step."""

    full: RawKSpace
    """Before samples were left out."""

    kept: RawKSpace
    noise_std: float | None
    matrices: torch.Tensor | None
    """Coil compression, None where there is none."""


class Problems(Sequence[InverseProblem]):
    """One inverse problem per image of a scan, each built when it is asked for.

    Memory holds the problem that was asked for and nothing else, so that a scan of any length can
    be worked through.

    Parameters
    ----------
    scan
        The scan.
    coil_maps
        `"auto"` (for several coils those that the file holds, else ESPIRiT), `"espirit"`,
        `"walsh"`, `"inati"`, or a complex tensor `(coils, z, y, x)` or `(images or slices, coils,
        z, y, x)`.
    prewhitening
        Whiten the coils with the noise readouts where there are some.
    keep_oversampling
        Keep the encoded field of view along the readout.
    undersampling
        Samples to be left out, or None.
    coil_compression
        Compress the coils to fewer virtual ones, or None.
    recenter
        Move k-space by whole samples, so that its centre in the middle slice is where it should be.
    partial_fourier
        How the missing side of a partial Fourier scan is filled; `"zero-filled"` counts it as
        unknown.
    intensity_scale
        `"unit"` divides data and noise level by one number for the whole scan, see
        `lowfield_recon.prepare.intensity_scale`; `"raw"` leaves them.

    Raises
    ------
    UsageError
        If a choice does not exist or does not fit the scan.
    """

    def __init__(
        self,
        scan: Scan,
        *,
        coil_maps: CoilMapChoice = "auto",
        prewhitening: bool = True,
        keep_oversampling: bool = False,
        undersampling: Undersampling | None = None,
        coil_compression: CoilCompression | None = None,
        recenter: bool = False,
        partial_fourier: PartialFourierMethod = "zero-filled",
        intensity_scale: IntensityScale = "raw",
    ) -> None:
        check_coil_maps(coil_maps, scan)
        check_words(partial_fourier, intensity_scale, undersampling)
        self._scan = scan
        self._indices: Sequence[int] = range(len(scan.images))
        self._coil_maps = coil_maps
        self._undersampling = undersampling
        self._compression = coil_compression if scan.header.n_coils > 1 else None
        self._asked_compression = coil_compression
        self._recenter = recenter
        self._partial_fourier = partial_fourier
        self._intensity_scale = intensity_scale
        self._noise = usable_noise(scan) if prewhitening else None
        self._stated_noise_std = stated_noise_std(scan) if self._noise is None else None
        is_auto = isinstance(coil_maps, str) and coil_maps == "auto"
        self._stored_maps = stored_coil_maps(scan, self._noise) if is_auto else None
        self._image_matrix = image_matrix(scan, keep_oversampling)

    @cached_property
    def steps(self) -> tuple[str, ...]:
        """What is done to every image, in order; the middle slice is read to know it."""
        header, choice = self._scan.header, self._asked_compression
        is_gridded = self._is_gridded
        is_stated = self._stated_noise_std is not None
        steps = stored_sentences(has_maps=self._stored_maps is not None, has_noise_std=is_stated)
        if not is_stated:
            steps.append(noise_sentence(self._scan, is_whitened=self._noise is not None))
        steps += self._check_sentences
        steps += field_of_view_sentences(header, self._image_matrix)
        steps += sampling_sentences(
            is_gridded=is_gridded,
            shift=self._shift if self._recenter else None,
            partial_fourier=self._partial_fourier,
            undersampling=self._undersampling,
        )
        if choice is not None:
            steps.append(compression_sentence(choice, header.n_coils))
        if self._intensity_scale == "unit":
            steps.append(f"data divided by {self.scale:.6g}")
        return tuple(steps)

    @property
    def noise_source(self) -> str:
        """Where the noise level of the images comes from."""
        if self._noise is not None:
            return "measured by the noise readouts"
        is_stated = self._stated_noise_std is not None
        return "stated in the file" if is_stated else "estimated from the border of k-space"

    @cached_property
    def scale(self) -> float:
        """Number that data and noise level of every image are divided by."""
        if self._intensity_scale == "raw":
            return 1.0
        middle = self._scan.n_slices // 2
        prepared = self._prepared(middle)
        kept = prepared.kept
        z, y, x = kept.data.shape[-3:] if kept.trajectory is None else self._image_matrix
        return scale_of(kept, (z, y, x), self._maps(middle, (z, y, x), prepared.matrices))

    @property
    def _is_gridded(self) -> bool:
        return self._scan.header.trajectory in ("cartesian", "epi")

    @cached_property
    def _checks(self) -> KSpaceChecks:
        return check_kspace(self._scan)

    @property
    def _check_sentences(self) -> list[str]:
        try:
            return list(self._checks.sentences())
        except DataError as error:
            return [f"centre of k-space not checked: {error}"]

    @property
    def _shift(self) -> Shape:
        centre = self._checks.centre if self._is_gridded else None
        return (0, 0, 0) if centre is None else centre.shift

    def __len__(self) -> int:
        return len(self._indices)

    @overload
    def __getitem__(self, index: int) -> InverseProblem: ...

    @overload
    def __getitem__(self, index: slice) -> Problems: ...

    def __getitem__(self, index: int | slice) -> InverseProblem | Problems:
        """Build one problem, or choose some of them without building any."""
        if isinstance(index, slice):
            chosen = object.__new__(Problems)
            chosen.__dict__.update(self.__dict__)
            chosen._indices = self._indices[index]
            return chosen
        return self._build(self._indices[index])

    def _build(self, index: int) -> InverseProblem:
        prepared, scale = self._prepared(index), self.scale
        build = self._along_trajectory if prepared.kept.trajectory is not None else self._on_grid
        problem = build(prepared, index)
        if scale == 1.0:
            return problem
        noise_std, reference = problem.noise_std, problem.reference
        return dataclasses.replace(
            problem,
            data=problem.data / scale,
            noise_std=None if noise_std is None else noise_std / scale,
            reference=None if reference is None else reference / scale,
        )

    def _prepared(self, index: int) -> _Prepared:
        """Do every step that turns samples into samples."""
        raw = self._scan.kspace(index)
        if self._noise is not None:
            raw = whitened(raw, self._noise, self._scan.noise_scale)
        noise_std = self._stated_noise_std if self._noise is None else 1.0
        if raw.trajectory is not None:
            full = self._with_image_positions(raw, raw.trajectory)
            few = self._undersampling
            kept = full if few is None else fewer_readouts(full, few)
        else:
            if self._recenter:
                raw = moved(raw, self._shift)
            if self._partial_fourier != "zero-filled" and noise_std is None:
                noise_std = estimate_noise_std(raw.data, raw.mask)
            raw = completed(raw, self._partial_fourier)
            full = without_oversampling(raw, self._readout_size(raw.data.shape[-1]))
            few = self._undersampling
            kept = full if few is None else undersampled(full, few)
        matrices = None
        if self._compression is not None and kept.data.shape[1] > 1:
            matrices = compressing(kept, self._compression)
            both = full is kept
            kept = compressed(kept, matrices)
            full = kept if both else compressed(full, matrices)
        if noise_std is None:
            is_spoke = kept.trajectory is not None
            noise_std = estimate_noise_std(kept.data, kept.mask, readout_only=is_spoke)
        return _Prepared(full=full, kept=kept, noise_std=noise_std, matrices=matrices)

    def _on_grid(self, prepared: _Prepared, index: int) -> InverseProblem:
        full, kept = prepared.full, prepared.kept
        maps = self._maps(index, tuple(kept.data.shape[-3:]), prepared.matrices)
        if maps is None and kept.data.shape[1] > 1:
            has_lines = kept.calibration is not None
            maps = estimate_coil_maps(
                kept.calibration if kept.calibration is not None else kept.data,
                self._method,
                mask=kept.calibration_mask if has_lines else kept.mask,
                calibration_width=CALIBRATION_WIDTH,
            )
        reference = None
        if self._undersampling is not None and is_complete(full):
            (reference,) = kspace_operator(mask=full.mask, coil_maps=maps).H(full.data)
        return InverseProblem(
            data=kept.data,
            operator=kspace_operator(
                mask=kept.mask, coil_maps=maps, image_shape=tuple(kept.data.shape[-3:])
            ),
            noise_std=prepared.noise_std,
            image_domain="complex",
            reference=reference,
            geometry=kept.geometry,
        )

    def _with_image_positions(self, raw: RawKSpace, trajectory: torch.Tensor) -> RawKSpace:
        """Scale positions in cycles per field of view: the voxel size stays, the size does not."""
        encoded = self._scan.header.encoded_matrix
        scale = torch.tensor([m / n for m, n in zip(self._image_matrix, encoded, strict=True)])
        return dataclasses.replace(raw, trajectory=trajectory * scale)

    def _along_trajectory(self, prepared: _Prepared, index: int) -> InverseProblem:
        raw, shape = prepared.kept, self._image_matrix
        positions = cast(torch.Tensor, raw.trajectory)
        maps = self._maps(index, shape, prepared.matrices)
        if maps is None and raw.data.shape[1] > 1:
            calibration = gridded(raw.data, positions, shape)
            width = sampled_width(positions)
            maps = estimate_coil_maps(calibration, self._method, calibration_width=width)
        return InverseProblem(
            data=raw.data,
            operator=kspace_operator(trajectory=positions, coil_maps=maps, image_shape=shape),
            noise_std=prepared.noise_std,
            image_domain="complex",
            geometry=raw.geometry,
        )

    @property
    def _method(self) -> Literal["espirit", "walsh", "inati"]:
        choice = self._coil_maps
        if isinstance(choice, torch.Tensor) or choice == "auto":
            return "espirit"
        return choice

    def _maps(
        self, index: int, shape: tuple[int, ...], matrices: torch.Tensor | None
    ) -> torch.Tensor | None:
        """Return the given coil maps of one image, compressed, None if they are to be estimated."""
        maps = self._coil_maps if self._stored_maps is None else self._stored_maps
        if not isinstance(maps, torch.Tensor):
            return None
        if maps.ndim == 5 and maps.shape[0] > 1:
            per_volume = self._scan.n_slices
            maps = maps[index if maps.shape[0] == len(self._scan.images) else index % per_volume]
        maps = maps.reshape(1, *maps.shape[-4:]).to(torch.complex64)
        if tuple(maps.shape[-3:]) != shape:
            raise UsageError(
                f"coil_maps: their size (z, y, x) is {tuple(maps.shape[-3:])}, the image's is "
                f"{shape}; expected the same. Resample them or let them be estimated."
            )
        return maps if matrices is None else compress_coil_maps(maps, matrices)

    def _readout_size(self, n_grid: int) -> int:
        ratio = self._image_matrix[2] / self._scan.header.encoded_matrix[2]
        return n_grid if ratio == 1 else min(n_grid, round(n_grid * ratio))
