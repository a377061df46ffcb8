"""The tasks of the published tables of NCPR and CPR, on any grey image.

Denoising; super-resolution 4x (16 x 16 Gaussian of standard deviation 2, every fourth pixel, no
padding); single-coil MRI with columns of k-space left out, of a real image. Peak 1 everywhere.

References
----------
Ducotterd S et al. Learning of patch-based smooth-plus-sparse models for image reconstruction.
https://arxiv.org/abs/2412.13070
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch

from lowfield_recon.errors import DataError, UsageError, nearest_name
from lowfield_recon.evaluation.benchmark.published_patch import ImageMap
from lowfield_recon.mrpro_import import LinearOperator
from lowfield_recon.operators import (
    blur_operator,
    downsample_operator,
    identity_operator,
    kspace_operator,
    mask_operator,
)
from lowfield_recon.prepare.fastmri_masks import fastmri_mask
from lowfield_recon.problem import InverseProblem

Kind = Literal["denoise", "super-resolve", "mri"]

FACTOR = 4
_TAPS = 16
_BLUR_STD = 2.0
_SUPER_RESOLUTION_NOISE = 0.01
_SUPER_RESOLUTION_MARGIN = 40
MRI_NOISE = 2e-3
"""Standard deviation of real and imaginary part of a sample of k-space."""
_MRI_SCORED = 320
_CENTER_FRACTIONS = {8: 0.04, 16: 0.02}


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedTask:
    """One task: how data is made of an image, and how the result is scored."""

    name: str
    kind: Kind
    preset: str
    """Name of the published optimum."""

    title: str
    """In words."""

    weights_sigma: int
    """Noise level that the weights were trained at."""

    noise_std: float
    """Standard deviation of a real number of the data."""

    tolerance: float
    """Relative change of the image at which the published iteration stops."""

    acceleration: int = 1
    """One line in so many is acquired, on average."""

    @property
    def nonnegative(self) -> bool:
        """Whether the published iteration keeps the image nonnegative."""
        return self.kind != "denoise"

    def problem(self, image: torch.Tensor, seed: int = 0) -> InverseProblem:
        """Make the data of an image; the same seed gives the same noise and lines.

        Parameters
        ----------
        image
            Grey levels `(y, x)`, float32, of peak 1.
        seed
            Seed of noise and lines; each image draws from a generator of its own.

        Returns
        -------
            The problem with the image as its reference, `(1, 1, 1, y, x)`.

        Raises
        ------
        DataError
            If the image is too small for the task.
        """
        reference = image.float()[None, None, None]
        operator = self._operator((image.shape[0], image.shape[1]), seed)
        (clean,) = operator(reference)
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(clean.shape[-2:], generator=generator)
        if clean.is_complex():
            noise = torch.complex(noise, torch.randn(clean.shape[-2:], generator=generator))
        observed = self._observed((image.shape[0], image.shape[1]), seed)
        return InverseProblem(
            data=clean + self.noise_std * noise * observed,
            operator=operator,
            noise_std=self.noise_std * (math.sqrt(2) if clean.is_complex() else 1.0),
            image_domain="nonnegative" if self.nonnegative else "real",
            reference=reference,
        )

    def score(self, image: torch.Tensor, reference: torch.Tensor) -> float:
        """Return the PSNR [dB] of an image `(..., y, x)`, peak 1, over the pixels that count.

        Of super-resolution a margin of 40 pixels is left out (a quarter of a small image), of MRI
        the central 320 x 320 count.

        Parameters
        ----------
        image
            Image, not clipped.
        reference
            Truth of the same shape.

        Returns
        -------
            ``-10 log10(mean (x - x_ref)^2)``; infinite for equal images.
        """
        error = self.scored(image.double() - reference.double())
        mean_square = float(error.square().mean())
        return math.inf if mean_square == 0 else -10 * math.log10(mean_square)

    def scored(self, image: torch.Tensor) -> torch.Tensor:
        """Return the part of an image `(..., y, x)` that is scored.

        Parameters
        ----------
        image
            Any image.

        Returns
        -------
            A view.
        """
        for dim in (-2, -1):
            n = image.shape[dim]
            if self.kind == "super-resolve":
                margin = min(_SUPER_RESOLUTION_MARGIN, n // 4)
                image = image.narrow(dim, margin, n - 2 * margin)
            elif self.kind == "mri":
                kept = min(n, _MRI_SCORED)
                image = image.narrow(dim, (n - kept) // 2, kept)
        return image

    def _observed(self, size: tuple[int, int], seed: int) -> torch.Tensor:
        """Tell which samples of the data are measured, broadcastable to it."""
        if self.kind == "mri":
            return _lines(size[1], self.acceleration, seed)
        if self.kind == "super-resolve":
            return _inside(size)
        return torch.ones(1, dtype=torch.bool)

    def _operator(self, size: tuple[int, int], seed: int) -> LinearOperator:
        if self.kind == "denoise":
            return identity_operator()
        if self.kind == "mri":
            return kspace_operator(mask=_lines(size[1], self.acceleration, seed))
        return _super_resolution(size)


_DENOISING = {
    f"denoise-sigma{sigma}": PublishedTask(
        name=f"denoise-sigma{sigma}", kind="denoise", preset=f"denoise-sigma{sigma}",
        title=f"denoising, sigma = {sigma}/255", weights_sigma=sigma, noise_std=sigma / 255,
        tolerance=1e-4,
    )
    for sigma in (5, 25)
}  # fmt: skip

TASKS: dict[str, PublishedTask] = _DENOISING | {
    "super-resolve": PublishedTask(
        name="super-resolve", kind="super-resolve", preset="super-resolve-x4",
        title="super-resolution 4x", weights_sigma=25, noise_std=_SUPER_RESOLUTION_NOISE,
        tolerance=1e-5,
    ),
    "mri-8x": PublishedTask(
        name="mri-8x", kind="mri", preset="mri-8x-pd", title="MRI, 1 column in 8",
        weights_sigma=25, noise_std=MRI_NOISE, tolerance=1e-5, acceleration=8,
    ),
    "mri-16x": PublishedTask(
        name="mri-16x", kind="mri", preset="mri-16x-pd", title="MRI, 1 column in 16",
        weights_sigma=25, noise_std=MRI_NOISE, tolerance=1e-5, acceleration=16,
    ),
}  # fmt: skip


def choose_tasks(names: tuple[str, ...], sigmas: tuple[int, ...] = ()) -> tuple[PublishedTask, ...]:
    """Find tasks by name; `denoise` stands for denoising at each of the noise levels.

    Parameters
    ----------
    names
        Of `TASKS`, or `denoise`; empty for all.
    sigmas
        Noise levels of `denoise`, of 255; empty for 5 and 25.

    Returns
    -------
        The tasks, each once.

    Raises
    ------
    UsageError
        If a task or noise level is not known.

    Examples
    --------
    >>> [task.name for task in choose_tasks(("denoise", "mri-8x"), (25,))]
    ['denoise-sigma25', 'mri-8x']
    """
    known = ("denoise", *TASKS)
    for sigma in sigmas:
        if f"denoise-sigma{sigma}" not in TASKS:
            raise UsageError(f"sigma {sigma}: the published weights are for 5 and 25; choose one.")
    levels = tuple(f"denoise-sigma{sigma}" for sigma in sigmas or (5, 25))
    others = tuple(name for name in TASKS if name not in _DENOISING)
    found: dict[str, PublishedTask] = {}
    for name in names or ("denoise", *others):
        if name not in known:
            raise UsageError(f"task '{name}' is not known. {nearest_name(name, known)}")
        for single in levels if name == "denoise" else (name,):
            found[single] = TASKS[single]
    return tuple(found.values())


def normal_equations(problem: InverseProblem) -> tuple[torch.Tensor, ImageMap]:
    """Return ``H^T y`` and ``x -> H^T H x`` of a problem with a real image, on `(y, x)`.

    Parameters
    ----------
    problem
        Problem with one image of one slice.

    Returns
    -------
        Right-hand side and the map, ``Re(A^H A x)``.

    Examples
    --------
    >>> rhs, gram = normal_equations(TASKS["mri-8x"].problem(torch.rand(64, 64)))
    >>> rhs.shape, rhs.dtype, gram(rhs).shape
    (torch.Size([64, 64]), torch.float32, torch.Size([64, 64]))
    """
    (back,) = problem.operator.adjoint(problem.data)
    gram_operator = problem.operator.gram
    size = back.shape[-2:]

    def gram(x: torch.Tensor) -> torch.Tensor:
        (result,) = gram_operator(x.reshape(problem.shape))
        return _real(result).reshape(size)

    return _real(back).reshape(size).contiguous(), gram


def _real(x: torch.Tensor) -> torch.Tensor:
    return x.real if x.is_complex() else x


def _lines(n_columns: int, acceleration: int, seed: int) -> torch.Tensor:
    """Draw the columns of k-space, bool `(1, 1, 1, 1, columns)`, as fastMRI does."""
    lines = fastmri_mask(
        n_columns, kind="fastmri-random", acceleration=acceleration,
        center_fraction=_CENTER_FRACTIONS[acceleration], seed=seed,
    )  # fmt: skip
    return lines.reshape(1, 1, 1, 1, -1)


def _super_resolution(size: tuple[int, int]) -> LinearOperator:
    """Return ``(A x)[i] = sum_u h[u] x[4 i + u]`` where all taps lie in the image, zero elsewhere.

    The kernel stands at the end of one twice its size, so that the circular blur has its first
    tap as its origin; the outputs that wrap around are masked.
    """
    if min(size) < 2 * _TAPS:
        raise DataError(f"super-resolution: expected at least 32 x 32 pixels, got {size}.")
    position = torch.arange(_TAPS, dtype=torch.float64) - (_TAPS - 1) / 2
    weights = torch.exp(-position.square() / (2 * _BLUR_STD**2))
    kernel = torch.zeros(2 * _TAPS - 1, 2 * _TAPS - 1, dtype=torch.float64)
    kernel[:_TAPS, :_TAPS] = torch.outer(weights, weights) / weights.sum().square()
    shape = (1, 1, 1, *size)
    small = downsample_operator(FACTOR, image_shape=shape)
    return mask_operator(_inside(size)) @ small @ blur_operator(kernel.float(), image_shape=shape)


def _inside(size: tuple[int, int]) -> torch.Tensor:
    """Tell which outputs have all their taps in the image, bool `(1, 1, 1, y, x)`."""
    rows, columns = (torch.arange(0, n, FACTOR) + _TAPS <= n for n in size)
    return (rows[:, None] & columns)[None, None, None]
