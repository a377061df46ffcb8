"""The problem that `benchmark ncpr` times: a real image, one column of k-space in eight."""

from __future__ import annotations

from typing import Any

import torch

from lowfield_recon.errors import DataError
from lowfield_recon.evaluation.benchmark.published_tasks import TASKS
from lowfield_recon.learning.image_set import load_images
from lowfield_recon.learning.patch_presets import PatchPreset, patch_preset
from lowfield_recon.learning.patch_prior import load_patch_prior
from lowfield_recon.operators.fourier import centred_ifft
from lowfield_recon.prepare.cropping import crop_center, pad_center
from lowfield_recon.resources import sample_path
from lowfield_recon.scan import load_scan
from lowfield_recon.solvers.patch_regularizer import PatchRegularizer

TASK = TASKS["mri-8x"]
"""Published optimum, noise and scoring of what is timed."""

METHOD = "ncpr"
SAMPLE = "brain_4coil_t2w.h5"


def speed_image(sources: tuple[str, ...], size: tuple[int, int]) -> tuple[torch.Tensor, str]:
    """Return a real image on the grid of a knee of fastMRI, 640 x 368, or on a smaller one.

    Parameters
    ----------
    sources
        Files, folders or patterns, whose first subject's middle slice is cut or padded with zeros
        about its centre; empty for the four-coil scan that ships, its k-space cut or padded to the
        number of columns, its coils combined by root of the sum of squares, rows of zeros above
        and below as oversampling gives them.
    size
        Rows and columns.

    Returns
    -------
        Magnitude of the given size, float32, its maximum 1, and what it is in words.

    Raises
    ------
    DataError
        If the image is zero.

    Examples
    --------
    >>> image, what = speed_image((), (64, 48))
    >>> image.shape, float(image.max()), what
    (torch.Size([64, 48]), 1.0, 'brain_4coil_t2w.h5')
    """
    if sources:
        images = load_images(sources)
        subject = images.subjects[0]
        slices = images.images[subject]
        image, what = slices[len(slices) // 2].abs(), f"{subject}, slice {len(slices) // 2}"
    else:
        kspace = load_scan(sample_path(SAMPLE)).problems()[0].data
        coils = centred_ifft(_fitted(kspace, (size[1], size[1])), (-2, -1)).flatten(end_dim=-3)
        image, what = torch.linalg.vector_norm(coils, dim=0), SAMPLE
    fitted = _fitted(image.float(), size)
    largest = float(fitted.max())
    if largest <= 0:
        raise DataError(f"{what}: the image is zero; choose another with --images.")
    return (fitted / largest).contiguous(), what


def speed_model() -> PatchRegularizer:
    """Return the published model with the published optimum, single precision.

    Returns
    -------
        The regulariser.
    """
    preset = _preset()
    prior = load_patch_prior(preset.weights, method=METHOD)
    return prior.regularizer(beta=preset.beta, base_scale=preset.base_scale)


def model_settings() -> dict[str, Any]:
    """Return the same for our method, which is not to scale the image.

    Returns
    -------
        Settings of `ncpr`.

    Examples
    --------
    >>> model_settings()["weights"]
    'ncpr_sigma25'
    """
    preset = _preset()
    return {
        "weights": preset.weights,
        "beta": preset.beta,
        "regularization_weight": preset.base_scale,
        "scale": 1.0,
    }


def _preset() -> PatchPreset:
    return patch_preset(METHOD, TASK.preset)


def _fitted(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Cut or pad the last two axes about their centre."""
    for dim, n in zip((-2, -1), size, strict=True):
        x = crop_center(x, n, dim) if x.shape[dim] >= n else pad_center(x, n, dim)
    return x
