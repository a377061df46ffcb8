"""Recorded scans made worse: noise is added to the data and taken from the reference.

References
----------
Pang T et al. Recorrupted-to-recorrupted: unsupervised deep learning for image denoising. CVPR 2021.
https://doi.org/10.1109/CVPR46437.2021.00208
"""

from __future__ import annotations

import math

import torch

from lowfield_recon.errors import DataError
from lowfield_recon.evaluation.shifts.axes import IMAGE_AXES
from lowfield_recon.evaluation.shifts.objects import OBJECT_THRESHOLD
from lowfield_recon.evaluation.shifts.records import Condition, StudyImage
from lowfield_recon.evaluation.shifts.sampling import recipe_of, sampled
from lowfield_recon.operators import kspace_operator
from lowfield_recon.operators.fourier import centred_fft, centred_ifft
from lowfield_recon.problem import InverseProblem
from lowfield_recon.simulation.fields import stream
from lowfield_recon.simulation.interference import interference
from lowfield_recon.simulation.noise import complex_noise, object_mean
from lowfield_recon.simulation.pattern import sampling_mask
from lowfield_recon.simulation.recipe import Recipe
from lowfield_recon.simulation.spikes import spikes

LEAST_FACTOR = 1.25
"""Noise of the data over what the scanner recorded, at least: without added noise the reference
would share its noise with the data."""

_POSSIBLE = {
    "noise", "window", "window-shape", "acceleration", "mask", "gain", "spikes", "interference",
    *IMAGE_AXES,
}  # fmt: skip


def recorded_problem(image: StudyImage, condition: Condition, seed: int) -> InverseProblem:
    r"""Make a recorded scan worse.

    With noise n of the recorded level s, the data are ``M (y + t n + i)`` and the reference is the
    image of ``y - n / t``, ``t^2 = factor^2 - 1``: the noise of one says nothing about that of the
    other. The factor brings the noise to the condition's level, and is at least 1.25. The reference
    holds noise of ``s (1 + 1 / t^2)^(1/2)``, which lowers all scores and the order of none where
    real parts along its smooth phase are compared (moduli have a floor of noise).

    Parameters
    ----------
    image
        Recorded scan.
    condition
        Levels of noise, window, mask, gain, spikes and interference.
    seed
        Seed of everything random.

    Returns
    -------
        The problem, with its reference.

    Raises
    ------
    DataError
        If the condition changes the object or the coils, of which there is the recorded one only.

    Examples
    --------
    >>> from lowfield_recon.evaluation.shifts.conditions import compose
    >>> pixels = torch.ones(1, 1, 1, 16, 16, dtype=torch.complex64)
    >>> scan = StudyImage(name="a", subject="a", domain="b", pixels=pixels, noise_std=0.05)
    >>> problem = recorded_problem(scan, compose({"noise": 0.2}), 0)
    >>> round(problem.noise_std, 3)
    0.2

    References
    ----------
    https://doi.org/10.1109/CVPR46437.2021.00208
    """
    own = _own_noise(image)
    impossible = [name for name, _ in condition.levels if name not in _POSSIBLE]
    if impossible:
        raise DataError(
            f"{image.name}: '{impossible[0]}' needs an object to simulate a scan of, but this is a "
            "recorded scan; apply it to images only."
        )
    settings = condition.settings
    ratio = math.sqrt(_factor(image, condition) ** 2 - 1)
    full = centred_fft(image.pixels.to(torch.complex64), (-2, -1))
    noise = own * complex_noise(full.shape, stream(seed, "noise"))
    recipe = recipe_of(settings, image, own, seed)
    bits = 32 if recipe.mask.startswith("fastmri-") else 62
    shape = (1, full.shape[-2], full.shape[-1])
    mask = sampling_mask(shape, recipe, seed % (1 << bits))
    degraded = full + ratio * noise + _disturbance(full * mask, image, recipe, seed)
    data, mask = sampled(mask * degraded, mask, settings)
    return InverseProblem(
        data=settings.gain * data,
        operator=kspace_operator(mask=mask),
        noise_std=settings.gain * own * math.hypot(1, ratio),
        reference=settings.gain * centred_ifft(full - noise / ratio, (-2, -1)),
    )


def recorded_sentences(image: StudyImage, condition: Condition) -> tuple[str, ...]:
    """Say what is not as the condition states.

    Parameters
    ----------
    image
        Recorded scan.
    condition
        Condition.

    Returns
    -------
        Sentences.
    """
    own, mean = _own_noise(image), float(object_mean(image.pixels, OBJECT_THRESHOLD))
    factor = _factor(image, condition)
    sentences = [
        f"{image.domain}: recorded scans keep their own phase and coil, and their references hold "
        "noise, which lowers every score; compare real parts along the phase of the reference."
    ]
    if own * factor > condition.settings.noise * mean:
        sentences.append(
            f"{image.name}: was recorded with noise of {own / mean:.3f} of the object's mean, so "
            f"that its data have {own * factor / mean:.3f} in place of "
            f"{condition.settings.noise:g}."
        )
    return tuple(sentences)


def _own_noise(image: StudyImage) -> float:
    if image.noise_std is None:
        raise DataError(f"{image.name}: its noise is not known; expected a recorded scan.")
    return image.noise_std


def _factor(image: StudyImage, condition: Condition) -> float:
    """Return the noise of the data over the recorded one."""
    wanted = condition.settings.noise * float(object_mean(image.pixels, OBJECT_THRESHOLD))
    return max(wanted / _own_noise(image), LEAST_FACTOR)


def _disturbance(
    signal: torch.Tensor, image: StudyImage, recipe: Recipe, seed: int
) -> torch.Tensor:
    """Return interference and spikes, as a simulated scan has them."""
    total = torch.zeros_like(signal)
    if recipe.interference_hz:
        total = total + interference(
            signal.shape,
            frequencies_hz=recipe.interference_hz,
            amplitude=recipe.interference_amplitude
            * float(object_mean(image.pixels, OBJECT_THRESHOLD)),
            dwell_time_s=recipe.dwell_time_s,
            generator=stream(seed, "interference"),
        )
    if recipe.spike_fraction > 0:
        total = total + spikes(
            signal.shape,
            fraction=recipe.spike_fraction,
            amplitude=recipe.spike_amplitude * signal.abs().max(),
            generator=stream(seed, "spikes"),
        )
    return total
