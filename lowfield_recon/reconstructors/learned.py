"""What the methods share that reconstruct by one trained network.

References
----------
Zbontar J et al. fastMRI: an open dataset and benchmarks for accelerated MRI. arXiv:1811.08839
"""

from __future__ import annotations

import math
from functools import cached_property

import torch
from pydantic import Field

from lowfield_recon.errors import DataError
from lowfield_recon.learning.comparators import ComparatorModel, load_comparator
from lowfield_recon.learning.measured import CoilData, Measured
from lowfield_recon.operators.cartesian import CartesianOp
from lowfield_recon.problem import InverseProblem, ProgressCallback
from lowfield_recon.reconstructors.base import Outcome, Reconstructor, Settings
from lowfield_recon.reconstructors.convolutional_dictionary import planewise
from lowfield_recon.reconstructors.data_term import (
    DataTerm,
    data_term,
    preconditioner_eigenvalues,
)
from lowfield_recon.reconstructors.weights import noise_level

_LEAST_NOISE = 1e-6


class LearnedSettings(Settings):
    """Settings of the methods that reconstruct by one trained network."""

    weights: str = Field(description="name or .safetensors file of the network's weights")


class LearnedReconstructor(Reconstructor[LearnedSettings]):
    """A trained network from ``A^H y``, ``A^H A`` and the noise level to the image.

    The data are divided by the bound of ``||A||`` and by the 99.5 % quantile of ``|A^H y|``; planes
    along z and channels of photographs go through the network one by one, ``A^H A`` may couple
    them. Of real images the network sees an imaginary part of zero, and the real part of what it
    returns is kept.
    """

    needs = "weights (lowfield-recon weights list, or train them)"
    takes = "any problem"
    settings_type = LearnedSettings

    @cached_property
    def model(self) -> ComparatorModel:
        """The trained network, loaded once for all slices of a scan."""
        return load_comparator(self.name, self.settings.weights)

    def solve(self, problem: InverseProblem, progress: ProgressCallback | None) -> Outcome:
        """Look at the data and apply the network."""
        model = self.model.to(problem.data.device, problem.image_dtype.to_real())
        _check_size(problem.shape, model)
        term = data_term(problem)
        sigma, source = noise_level(problem)
        measured = measured_planes(problem, term, sigma)
        planes = model(measured)
        image = planes.reshape(problem.shape) * term.scale
        if problem.image_domain != "complex":
            image = image.real
        if problem.image_domain == "nonnegative":
            image = image.clamp(min=0)
        if progress is not None:
            progress(1, 1, None)
        diagnostics = {
            "noise_std": sigma,
            "noise_source": source,
            "stopping_reason": "trained number of steps",
            **self.notes(model, measured, term),
        }
        resolved = {"weights": self.settings.weights}
        return Outcome(image.to(problem.image_dtype), diagnostics, resolved)

    def notes(
        self, model: ComparatorModel, measured: Measured, term: DataTerm
    ) -> dict[str, object]:
        """Return what a method reports beside; nothing unless it has something to say."""
        del model, measured, term
        return {}


def measured_planes(problem: InverseProblem, term: DataTerm, noise_std: float) -> Measured:
    """Return what a network may look at of a problem.

    Parameters
    ----------
    problem
        Data and operator.
    term
        Its data term.
    noise_std
        Standard deviation of the noise of one sample of y.

    Returns
    -------
        Planes `(planes, y, x)` of the problem divided by `term.scale` and the bound of ``||A||``.
    """
    shape, planes = problem.shape, (-1, *problem.shape[-2:])
    unit = term.lipschitz
    complex_dtype = problem.image_dtype.to_complex()
    is_complex = problem.image_domain == "complex"

    def gram(image: torch.Tensor) -> torch.Tensor:
        x = image.reshape(shape)
        if is_complex:
            return term.smooth.gram(x).reshape(planes) / unit
        seen = torch.complex(*(term.smooth.gram(part.contiguous()) for part in (x.real, x.imag)))
        return seen.reshape(planes) / unit

    eigenvalues = preconditioner_eigenvalues(problem, term)
    mean = eigenvalues.expand(shape).mean(dim=-3, keepdim=True).expand(shape).reshape(planes)
    noise = max(noise_std / term.scale, _LEAST_NOISE) / math.sqrt(unit)
    known = planewise(term.fourier, shape)
    return Measured(
        adjoint=term.smooth.rhs.reshape(planes).to(complex_dtype) / unit,
        gram=gram,
        pixel_noise=noise * (mean / unit).mean(dim=(-2, -1)).sqrt(),
        eigenvalues=None if known is None else known / unit,
        are_separate=shape[-3] == 1,
        coils=_coil_data(problem, term),
    )


def _coil_data(problem: InverseProblem, term: DataTerm) -> CoilData | None:
    """Return the k-space of a Cartesian scan of one plane at a time with coil maps."""
    operator = problem.operator
    if not isinstance(operator, CartesianOp) or operator.coil_maps is None:
        return None
    data = problem.data
    if data.shape[-3] != 1:
        return None
    mask = operator.mask
    if mask is None:
        mask = torch.ones((1, 1, 1, 1), dtype=torch.bool, device=data.device)
    if mask.shape[-4] > 1 and not bool((mask == mask[..., :1, :, :, :]).all()):
        return None
    stacked = (-1, *data.shape[-4:-3], *data.shape[-2:])
    shared = mask[..., :1, :, :, :].expand(*data.shape[:-4], 1, *data.shape[-3:])
    return CoilData(
        kspace=(data * mask).reshape(stacked) / term.scale,
        mask=shared.reshape(-1, *data.shape[-2:]),
        maps=operator.coil_maps.expand(data.shape).reshape(stacked).to(data.dtype),
    )


def _check_size(shape: tuple[int, ...], model: ComparatorModel) -> None:
    least = model.least_size
    if min(shape[-2:]) < least:
        raise DataError(
            f"image of {shape[-2]} x {shape[-1]} pixels: these weights of {model.method} take at "
            f"least {least} along y and x. Use tv or wavelet."
        )
