"""From a scan to inverse problems: prewhitening, oversampling, masks, coil maps, noise level."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import Literal, cast, overload

import torch

from lowfield_recon.errors import UsageError, nearest_name
from lowfield_recon.operators import kspace_operator
from lowfield_recon.prepare import estimate_coil_maps, estimate_noise_std
from lowfield_recon.problem import InverseProblem
from lowfield_recon.scan.preparation import (
    CALIBRATION_WIDTH,
    Undersampling,
    fewer_readouts,
    gridded,
    sampled_width,
    undersampled,
    whitened,
    without_oversampling,
)
from lowfield_recon.scan.records import RawKSpace, Scan, Shape

__all__ = ["CoilMapChoice", "Problems", "Undersampling"]

logger = logging.getLogger(__name__)

CoilMapChoice = Literal["auto", "espirit", "walsh", "inati"] | torch.Tensor

_METHODS = ("auto", "espirit", "walsh", "inati")
_SAMPLES_PER_COIL = 10


class Problems(Sequence[InverseProblem]):
    """One inverse problem per image of a scan, each built when it is asked for.

    Memory holds the problem that was asked for and nothing else, so that a scan of any length can
    be worked through.

    Parameters
    ----------
    scan
        The scan.
    coil_maps
        `"auto"` (ESPIRiT for several coils), `"espirit"`, `"walsh"`, `"inati"`, or a complex tensor
        `(coils, z, y, x)` or `(images or slices, coils, z, y, x)`.
    prewhitening
        Whiten the coils with the noise readouts where there are some.
    keep_oversampling
        Keep the encoded field of view along the readout.
    undersampling
        Samples to be left out, or None.

    Raises
    ------
    UsageError
        If a choice does not exist or does not fit the scan.
    """

    steps: tuple[str, ...]
    """What is done to every image, in order."""

    def __init__(
        self,
        scan: Scan,
        *,
        coil_maps: CoilMapChoice = "auto",
        prewhitening: bool = True,
        keep_oversampling: bool = False,
        undersampling: Undersampling | None = None,
    ) -> None:
        _check_coil_maps(coil_maps, scan)
        self._scan = scan
        self._indices: Sequence[int] = range(len(scan.images))
        self._coil_maps = coil_maps
        self._undersampling = undersampling
        self._noise = _usable_noise(scan) if prewhitening else None
        self._image_matrix = _image_matrix(scan, keep_oversampling)
        self.steps = _steps(scan, self._noise, self._image_matrix, undersampling)

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
        raw = self._scan.kspace(index)
        if self._noise is not None:
            raw = whitened(raw, self._noise, self._scan.noise_scale)
        if raw.trajectory is not None:
            return self._along_trajectory(raw, raw.trajectory, index)
        return self._on_grid(raw, index)

    def _on_grid(self, raw: RawKSpace, index: int) -> InverseProblem:
        n_x = self._readout_size(raw.data.shape[-1])
        full = without_oversampling(raw, n_x)
        kept = full if self._undersampling is None else undersampled(full, self._undersampling)
        maps = self._maps(index, tuple(kept.data.shape[-3:]))
        if maps is None and kept.data.shape[1] > 1:
            has_lines = kept.calibration is not None
            maps = estimate_coil_maps(
                kept.calibration if kept.calibration is not None else kept.data,
                self._method,
                mask=kept.calibration_mask if has_lines else kept.mask,
                calibration_width=CALIBRATION_WIDTH,
            )
        reference = None
        if self._undersampling is not None and full.mask is not None and bool(full.mask.all()):
            (reference,) = kspace_operator(mask=full.mask, coil_maps=maps).H(full.data)
        return InverseProblem(
            data=kept.data,
            operator=kspace_operator(
                mask=kept.mask, coil_maps=maps, image_shape=tuple(kept.data.shape[-3:])
            ),
            noise_std=self._noise_std(kept),
            image_domain="complex",
            reference=reference,
            geometry=raw.geometry,
        )

    def _along_trajectory(
        self, raw: RawKSpace, trajectory: torch.Tensor, index: int
    ) -> InverseProblem:
        encoded = self._scan.header.encoded_matrix
        shape = self._image_matrix
        # The voxel size stays, so positions in cycles per field of view scale with the size.
        scale = torch.tensor([m / n for m, n in zip(shape, encoded, strict=True)])
        raw = dataclasses.replace(raw, trajectory=trajectory * scale)
        if self._undersampling is not None:
            raw = fewer_readouts(raw, self._undersampling)
        positions = cast(torch.Tensor, raw.trajectory)
        maps = self._maps(index, shape)
        if maps is None and raw.data.shape[1] > 1:
            calibration = gridded(raw.data, positions, shape)
            width = sampled_width(positions)
            maps = estimate_coil_maps(calibration, self._method, calibration_width=width)
        return InverseProblem(
            data=raw.data,
            operator=kspace_operator(trajectory=positions, coil_maps=maps, image_shape=shape),
            noise_std=self._noise_std(raw),
            image_domain="complex",
            geometry=raw.geometry,
        )

    @property
    def _method(self) -> Literal["espirit", "walsh", "inati"]:
        choice = self._coil_maps
        if isinstance(choice, torch.Tensor) or choice == "auto":
            return "espirit"
        return choice

    def _maps(self, index: int, shape: tuple[int, ...]) -> torch.Tensor | None:
        """Return the given coil maps of one image, None where they are to be estimated."""
        maps = self._coil_maps
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
        return maps

    def _noise_std(self, raw: RawKSpace) -> float | None:
        if self._noise is not None:
            return 1.0
        return estimate_noise_std(raw.data, raw.mask, readout_only=raw.trajectory is not None)

    def _readout_size(self, n_grid: int) -> int:
        ratio = self._image_matrix[2] / self._scan.header.encoded_matrix[2]
        return n_grid if ratio == 1 else min(n_grid, round(n_grid * ratio))


def _image_matrix(scan: Scan, keep_oversampling: bool) -> Shape:
    """Return the encoded grid (z, y, x), cut to the field of view of the image.

    A Cartesian grid is cut along the readout only; with a trajectory every axis can be.
    """
    header = scan.header
    encoded, fov, recon_fov = header.encoded_matrix, header.encoded_fov_m, header.recon_fov_m
    if keep_oversampling or fov is None or recon_fov is None:
        return encoded
    cut = [
        min(n, round(n * image / whole)) if image and whole else n
        for n, whole, image in zip(encoded, fov, recon_fov, strict=True)
    ]
    if header.trajectory in ("cartesian", "epi"):
        return (encoded[0], encoded[1], max(cut[2], 1))
    return (max(cut[0], 1), max(cut[1], 1), max(cut[2], 1))


def _usable_noise(scan: Scan) -> torch.Tensor | None:
    noise = scan.noise
    if noise is None:
        return None
    if noise.shape[1] < _SAMPLES_PER_COIL * noise.shape[0]:
        logger.warning(
            "%s: %d noise samples do not determine the covariance of %d coils; not whitened.",
            scan.path.name,
            noise.shape[1],
            noise.shape[0],
        )
        return None
    return noise


def _steps(
    scan: Scan, noise: torch.Tensor | None, matrix: Shape, undersampling: Undersampling | None
) -> tuple[str, ...]:
    header = scan.header
    steps = []
    if noise is not None:
        steps.append(
            f"coils whitened with the noise readouts, variance factor {scan.noise_scale:.4g}"
        )
    elif scan.noise is not None:
        steps.append("coils not whitened although there are noise readouts")
    else:
        steps.append("no noise readouts: noise level estimated from the border of k-space")
    if matrix != header.encoded_matrix:
        steps.append(f"field of view cut from {header.encoded_matrix} to {matrix} (z, y, x)")
    fov, recon_fov = header.encoded_fov_m, header.recon_fov_m
    if fov is not None and recon_fov is not None and header.trajectory in ("cartesian", "epi"):
        for axis, whole, image in zip("zy", fov, recon_fov, strict=False):
            if abs(whole - image) > 1e-3 * whole:
                steps.append(
                    f"field of view along {axis} kept as encoded ({1e3 * whole:.4g} mm, not "
                    f"{1e3 * image:.4g} mm)"
                )
    if undersampling is not None:
        steps.append(f"samples left out: {undersampling}")
    return tuple(steps)


def _check_coil_maps(choice: CoilMapChoice, scan: Scan) -> None:
    if not isinstance(choice, torch.Tensor):
        if choice not in _METHODS:
            raise UsageError(f"coil_maps '{choice}': {nearest_name(choice, _METHODS)}")
        return
    n_coils, counts = scan.header.n_coils, (1, scan.n_slices, len(scan.images))
    fits = choice.ndim in (4, 5) and choice.shape[-4] == n_coils
    if not (fits and choice.is_complex() and (choice.ndim == 4 or choice.shape[0] in counts)):
        raise UsageError(
            f"coil_maps: expected complex ({n_coils}, z, y, x), or one of these for each slice or "
            f"image, got {choice.dtype} of shape {tuple(choice.shape)}."
        )
