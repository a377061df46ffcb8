"""Our sparse codes and low-pass against sporco's, at the optimum, in double precision."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch

from lowfield_recon.solvers.convolutional_model import (
    filter_spectra,
    low_pass_response,
    synthesise,
)
from lowfield_recon.solvers.sparse_coding import SparseCodingProblem, sparse_codes_fista

LARGEST_OBJECTIVE_DIFFERENCE = 1e-4
LARGEST_IMAGE_DIFFERENCE = 1e-3
LARGEST_LOW_PASS_DIFFERENCE = 1e-12

_ITERATIONS = 3000
_BETA = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Relative differences of one comparison."""

    name: str
    objective: float | None
    image: float

    @property
    def is_met(self) -> bool:
        """Whether they are as small as the specification demands."""
        if self.objective is None:
            return self.image <= LARGEST_LOW_PASS_DIFFERENCE
        is_near = self.image <= LARGEST_IMAGE_DIFFERENCE
        return is_near and abs(self.objective) <= LARGEST_OBJECTIVE_DIFFERENCE


def sparse_coding_agreement(
    kernels: torch.Tensor, image: torch.Tensor, weight: float, *, seed: int = 0
) -> list[Agreement]:
    """Code one image with sporco and with ours, with one weight and with maps of weights.

    Both objectives are evaluated by ours at the codes that each found; sporco's are moved by half a
    kernel, as it anchors kernels at their first tap.

    Parameters
    ----------
    kernels
        `(K, n, n)`.
    image
        Prepared image `(y, x)`, real.
    weight
        Sparsity weight, and mean of the maps.
    seed
        Seed of the maps.

    Returns
    -------
        One weight, maps of weights, low-pass.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = (len(kernels), 1, *image.shape)
    maps = weight * (0.5 + torch.rand(shape, generator=generator, dtype=torch.float64))
    one = torch.full((len(kernels), 1, 1, 1), weight, dtype=torch.float64)
    d, x = kernels.double(), image.double()
    return [
        _coding_agreement("one weight", d, x, one),
        _coding_agreement("a map of weights for each kernel", d, x, maps),
        _low_pass_agreement(x),
    ]


def _coding_agreement(
    name: str, kernels: torch.Tensor, image: torch.Tensor, weights: torch.Tensor
) -> Agreement:
    spectra = filter_spectra(kernels, (image.shape[0], image.shape[1]))
    y = image[None].to(torch.complex128)
    problem = SparseCodingProblem(
        spectra=spectra,
        rhs=torch.fft.fft2(y),
        energy=0.5 * float(image.square().sum()),
        weights=weights,
        eigenvalues=torch.ones(1, 1, 1, dtype=torch.float64),
        penalty="components",
    )
    ours = sparse_codes_fista(problem, iterations=_ITERATIONS, restart=True).codes
    theirs = _sporco_codes(kernels, image, weights)
    found, expected = (synthesise(spectra, codes) for codes in (ours, theirs))
    return Agreement(
        name=name,
        objective=problem.objective(ours) / problem.objective(theirs) - 1,
        image=float((found - expected).norm() / expected.norm()),
    )


def _sporco_codes(
    kernels: torch.Tensor, image: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    cbpdn: Any = import_module("sporco.admm.cbpdn")
    centre = [n // 2 for n in kernels.shape[-2:]]
    scale = float(weights.mean())
    options: dict[str, Any] = {"MaxMainIter": _ITERATIONS, "RelStopTol": 1e-8}
    if weights[0].numel() > 1:
        moved = (weights[:, 0] / scale).roll([-c for c in centre], (-2, -1))
        options["L1Weight"] = moved.permute(1, 2, 0).contiguous().numpy()
    solver = cbpdn.ConvBPDN(
        kernels.permute(1, 2, 0).contiguous().numpy(),
        image.contiguous().numpy(),
        scale,
        cbpdn.ConvBPDN.Options(options),
        dimK=0,
    )
    solver.solve()
    codes = torch.from_numpy(solver.getcoef().reshape(*image.shape, -1)).permute(2, 0, 1)
    return codes.roll(centre, (-2, -1))[:, None].to(torch.complex128)


def _low_pass_agreement(image: torch.Tensor) -> Agreement:
    theirs, _ = import_module("sporco.signal").tikhonov_filter(image.numpy(), _BETA, npd=0)
    response = low_pass_response(_BETA, (image.shape[0], image.shape[1]))
    ours = torch.fft.ifft2(response * torch.fft.fft2(image)).real
    expected = torch.from_numpy(theirs)
    return Agreement(
        name="low-pass (tikhonov_filter)",
        objective=None,
        image=float((ours - expected).norm() / expected.norm()),
    )
