"""The levels of a condition as the recipe of a simulated scan, and its pattern of samples."""

from __future__ import annotations

import math

import torch

from lowfield_recon.evaluation.shifts.objects import OBJECT_THRESHOLD
from lowfield_recon.evaluation.shifts.records import StudyImage
from lowfield_recon.evaluation.shifts.settings import ScanSettings
from lowfield_recon.simulation import Recipe

_VOXEL_M = 1e-3
_LINES = (0.17, -0.31)
_CALIBRATION = 3


def recipe_of(settings: ScanSettings, image: StudyImage, noise_std: float, seed: int) -> Recipe:
    """Return the recipe of a scan.

    Voxels count as 1 mm wide, which fixes the shape of coils and the unit of motion. The lines of
    interference stand at 0.17 and -0.31 of the field of view along the readout. A third of the
    lines that an accelerated scan measures, at least two, are its complete centre.

    Parameters
    ----------
    settings
        Levels.
    image
        What is scanned.
    noise_std
        Noise of a sample before the gain.
    seed
        Seed of everything random.

    Returns
    -------
        The recipe.

    Examples
    --------
    >>> image = StudyImage(
    ...     name="a", subject="a", domain="squares", pixels=torch.ones(1, 1, 1, 32, 24)
    ... )
    >>> recipe = recipe_of(ScanSettings(acceleration=2, window=0.5), image, 0.1, 0)
    >>> recipe.window, recipe.calibration_lines
    ((1.0, 0.5, 0.5), 2)
    """
    n_y, n_x = image.pixels.shape[-2:]
    part = _window_part(settings)
    is_accelerated = settings.acceleration > 1
    measured = max(1, round(part * n_y)) / settings.acceleration
    dwell_s = float(Recipe.model_fields["dwell_time_s"].default)
    return Recipe(
        seed=seed,
        n_coils=settings.coils,
        coil_distance=settings.coil_distance,
        phase_rad=settings.phase,
        phase_order=settings.phase_order,
        off_resonance_hz=settings.off_resonance / (n_x * dwell_s),
        bias_field=settings.bias_field,
        motion_m=settings.motion * _VOXEL_M,
        motion_rad=math.radians(settings.rotation),
        motion_shots=settings.motion_shots,
        motion_order=settings.motion_order,
        window=(1.0, part, part),
        mask=settings.mask if is_accelerated else "full",
        acceleration=settings.acceleration if is_accelerated else None,
        calibration_lines=max(2, int(measured / _CALIBRATION)),
        noise_std=noise_std,
        object_threshold=OBJECT_THRESHOLD,
        interference_hz=tuple(f / dwell_s for f in _LINES) if settings.interference > 0 else (),
        interference_amplitude=settings.interference,
        spike_fraction=settings.spikes,
        spike_amplitude=settings.spike_amplitude,
        gain=settings.gain,
    )


def sampled(
    kspace: torch.Tensor, mask: torch.Tensor, settings: ScanSettings
) -> tuple[torch.Tensor, torch.Tensor]:
    """Keep the samples within the shape of the window.

    Parameters
    ----------
    kspace
        k-space `(1, coils, 1, k1, k0)` of the rectangle about the shape.
    mask
        Its samples, bool, `(1, 1, 1, k1, 1 or k0)`.
    settings
        Levels, of which the window counts.

    Returns
    -------
        k-space and mask; as given where the window is a rectangle.

    Examples
    --------
    >>> y, mask = torch.ones(1, 1, 1, 32, 32), torch.ones(1, 1, 1, 32, 1, dtype=torch.bool)
    >>> settings = ScanSettings(window=0.5, window_shape="ellipse")
    >>> int(sampled(y, mask, settings)[1].sum())  # of 256 in the square
    253
    """
    if settings.window_shape == "rectangle":
        return kspace, mask
    part = _window_part(settings)
    n_y, n_x = kspace.shape[-2:]
    y, x = (
        (torch.arange(n, dtype=torch.float64) - n // 2) / (0.5 * max(1, round(part * n)))
        for n in (n_y, n_x)
    )
    inside = y[:, None] ** 2 + x**2 <= 1
    return kspace * inside, mask & inside


def _window_part(settings: ScanSettings) -> float:
    """Return the width of the rectangle about the window: an ellipse of equal area is wider."""
    if settings.window_shape == "rectangle":
        return settings.window
    return min(1.0, settings.window * math.sqrt(4 / math.pi))
