"""Degradations of photographs as inverse problems: masks, kernels, factors."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy
import torch

from lowfield_recon.errors import UsageError, nearest_name
from lowfield_recon.mrpro_import import LinearOperator
from lowfield_recon.operators import (
    blur_operator,
    downsample_operator,
    identity_operator,
    mask_operator,
)
from lowfield_recon.pipeline.masks import check_mask
from lowfield_recon.pipeline.pixels import read_pixels
from lowfield_recon.problem import InverseProblem

TASKS = ("inpaint", "denoise", "deblur", "super-resolve", "mixed")
_MOST_VALUES = 1 << 28
_LOG = logging.getLogger(__name__)


def build_problem(
    image: torch.Tensor,
    task: str,
    *,
    mask: torch.Tensor | None = None,
    kernel: torch.Tensor | None = None,
    factor: int | None = None,
    noise_std: float | None = None,
) -> InverseProblem:
    """State a degraded photograph as ``y = A x + e``.

    ``A = M D B``: blur, decimation, mask, as far as the task has them.

    Parameters
    ----------
    image
        Photograph, float `(1, channels, 1, y, x)`, grey scale 0..1.
    task
        `"inpaint"`, `"denoise"`, `"deblur"`, `"super-resolve"`, or `"mixed"` for any of these
        together.
    mask
        For inpainting: kept pixels of the photograph as it is, bool `(1, 1 or channels, 1, y, x)`.
    kernel
        For deblurring and super-resolution: real `(ky, kx)`; None averages the pixels that become
        one.
    factor
        For super-resolution: how many times larger the result is along y and x.
    noise_std
        Standard deviation of the noise on the scale 0..1, or None.

    Returns
    -------
        Problem with a real image.

    Raises
    ------
    UsageError
        If the task is unknown, or lacks or does not take one of these.
    DataError
        If sizes do not fit.

    Examples
    --------
    >>> problem = build_problem(torch.rand(1, 1, 1, 8, 8), "super-resolve", factor=2)
    >>> problem.shape
    (1, 1, 1, 16, 16)
    """
    check_task(task, mask=mask is not None, kernel=kernel is not None, factor=factor is not None)
    operator: LinearOperator | None = None
    if factor is not None:
        large = _enlarged(image, factor)
        blur = blur_operator(area_kernel(factor) if kernel is None else kernel, image_shape=large)
        operator = downsample_operator(factor, image_shape=large) @ blur
    elif kernel is not None:
        operator = blur_operator(kernel, image_shape=image.shape)
    if mask is not None:
        check_mask(mask, image)
        kept = mask_operator(mask)
        operator = kept if operator is None else kept @ operator
        image = torch.where(mask, image, torch.zeros_like(image))
    if operator is None:
        operator = identity_operator()
    return InverseProblem(data=image, operator=operator, noise_std=noise_std, image_domain="real")


def _enlarged(image: torch.Tensor, factor: int) -> tuple[int, ...]:
    """Return the shape of the larger image, unless it is larger than anyone can mean."""
    large = (*image.shape[:-2], image.shape[-2] * factor, image.shape[-1] * factor)
    if math.prod(large) > _MOST_VALUES:
        raise UsageError(
            f"--factor {factor}: makes an image of {large[-2]} x {large[-1]} pixels; expected at "
            f"most {_MOST_VALUES} values. Choose a smaller factor or cut the image."
        )
    return large


def check_task(task: str, *, mask: bool, kernel: bool, factor: bool) -> None:
    """Check that a task has the inputs that it needs and no others.

    Parameters
    ----------
    task
        Name of the task.
    mask
        Whether a mask was given.
    kernel
        Whether a kernel was given.
    factor
        Whether a factor was given.

    Raises
    ------
    UsageError
        If the task is unknown, or an input is missing or has no meaning for it.

    Examples
    --------
    >>> check_task("denoise", mask=False, kernel=False, factor=False)
    """
    needs = {"inpaint": "mask", "denoise": None, "deblur": "kernel", "super-resolve": "factor"}
    if task not in TASKS:
        raise UsageError(f"--task '{task}': there is no such task. {nearest_name(task, TASKS)}")
    given = {"mask": mask, "kernel": kernel, "factor": factor}
    if task == "mixed":
        if not any(given.values()):
            raise UsageError(
                "--task mixed: needs --kernel, --factor or --mask, any of them together; for noise "
                "alone take --task denoise."
            )
        return
    need = needs[task]
    if need is not None and not given[need]:
        raise UsageError(f"--task {task}: needs --{need}; see 'lowfield-recon restore --help'.")
    takes = {need, "kernel"} if task == "super-resolve" else {need}
    for name, is_given in given.items():
        if is_given and name not in takes:
            raise UsageError(f"--{name}: has no meaning for --task {task}; leave it out.")


def gaussian_kernel(sigma: float) -> torch.Tensor:
    """Return a Gaussian of unit sum, cut at four standard deviations.

    Parameters
    ----------
    sigma
        Standard deviation [pixels], above 0.

    Returns
    -------
        Kernel `(n, n)`, float32, n odd.

    Raises
    ------
    UsageError
        If sigma is not a finite number above 0.

    Examples
    --------
    >>> gaussian_kernel(1.0).shape
    torch.Size([9, 9])
    """
    if not (math.isfinite(sigma) and sigma > 0):
        raise UsageError(
            f"--kernel gaussian:{sigma}: expected a standard deviation above 0 pixels."
        )
    radius = math.ceil(4 * sigma)
    line = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=torch.float64) / sigma) ** 2)
    kernel = torch.outer(line, line)
    return (kernel / kernel.sum()).float()


def area_kernel(factor: int) -> torch.Tensor:
    """Return the mean over the factor × factor pixels that decimation turns into one.

    Parameters
    ----------
    factor
        Factor of the decimation.

    Returns
    -------
        Kernel `(2 f - 1, 2 f - 1)`, float32, whose taps reach from a kept pixel to the next.

    Examples
    --------
    >>> area_kernel(2)[:, 0]
    tensor([0.2500, 0.2500, 0.0000])
    """
    kernel = torch.zeros(2 * factor - 1, 2 * factor - 1)
    kernel[:factor, :factor] = 1 / factor**2
    return kernel


def read_kernel(text: str) -> torch.Tensor:
    """Read a blur kernel from `gaussian:SIGMA`, a .npy file or a grey image.

    Parameters
    ----------
    text
        What the user gave.

    Returns
    -------
        Kernel `(ky, kx)`, float32; that of an image file is scaled to unit sum.

    Raises
    ------
    UsageError
        If sigma is not a number above 0.
    DataError
        If a file is not there or not a kernel.

    Examples
    --------
    >>> float(read_kernel("gaussian:1.5").sum().round(decimals=5))
    1.0
    """
    if text.startswith("gaussian:"):
        sigma = text.removeprefix("gaussian:")
        try:
            return gaussian_kernel(float(sigma))
        except ValueError as error:
            raise UsageError(
                f"--kernel {text}: expected gaussian:SIGMA, a number above 0, e.g. gaussian:1.6."
            ) from error
    path = Path(text)
    pixels = read_pixels(path, what="kernel")
    kernel = torch.from_numpy(numpy.array(numpy.squeeze(pixels.values))).float()
    if kernel.ndim == 3:
        kernel = kernel.mean(dim=0)
    total = float(kernel.sum())
    if pixels.is_photograph and total > 0:
        return kernel / total
    if abs(total - 1) > 0.01:
        _LOG.warning("%s: the kernel sums to %.4g, not 1, and is used as it is", path.name, total)
    return kernel
