"""Convolutional sparse coding: what is to be solved, and what comes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from lowfield_recon.solvers.convolutional_model import (
    FilterSpectra,
    lipschitz_constant,
    weighted_sum,
)
from lowfield_recon.solvers.records import History

Penalty = Literal["modulus", "components"]

Gram = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SparseCodingProblem:
    """Data, dictionary and weights of one image or of several planes.

    With `eigenvalues` the planes are independent problems, and every solver treats each as if it
    were alone: its own step, its own restarts, its own end. With `gram` they are one problem.
    """

    spectra: FilterSpectra
    """The dictionary on the grid of the image."""

    rhs: torch.Tensor
    """Unnormalised DFT of ``b = A^H y``, complex `(planes, y, x)`."""

    energy: float
    """``1/2 ||y||^2``, so that the objective is the whole one."""

    weights: torch.Tensor
    """Lambda, real, > 0, broadcastable to `(K, planes, y, x)`, K given."""

    eigenvalues: torch.Tensor | None = None
    """Eigenvalues g >= 0 of A^H A, real, broadcastable to `(planes, y, x)`, in FFT order, where it
    is diagonal in Fourier space plane by plane; else None."""

    gram: Gram | None = None
    """Where `eigenvalues` is None: A^H A as a function from spectra to spectra `(planes, y, x)`."""

    norm_squared: float | None = None
    """Where `eigenvalues` is None: upper bound of ``||A||^2``."""

    penalty: Penalty = "modulus"
    """``Lambda |s|`` or ``Lambda (|Re s| + |Im s|)``."""

    def lipschitz(self) -> torch.Tensor:
        """Return the largest eigenvalue of ``(A D)^H A D``: exact in Fourier space, else a bound.

        Returns
        -------
            The constant of each plane, real `(planes,)`.
        """
        if self.eigenvalues is not None:
            largest = lipschitz_constant(self.spectra, self.eigenvalues)
        else:
            largest = float(self.norm_squared or 1.0) * self.spectra.power.max()
        return largest.expand(self.rhs.shape[0])

    def bound(self) -> torch.Tensor:
        """Return eigenvalues of a circulant that is no less than ``A^H A``: itself where known.

        Returns
        -------
            Real, broadcastable to `(planes, y, x)`.
        """
        if self.eigenvalues is not None:
            return self.eigenvalues
        return self.rhs.real.new_full((1, 1, 1), float(self.norm_squared or 1.0))

    def normal(self, image: torch.Tensor) -> torch.Tensor:
        """Apply ``A^H A`` to a spectrum.

        Parameters
        ----------
        image
            Spectrum `(planes, y, x)`.

        Returns
        -------
            Spectrum of the same shape.
        """
        if self.eigenvalues is not None:
            return self.eigenvalues * image
        return image if self.gram is None else self.gram(image)

    def shared(self, sums: torch.Tensor) -> torch.Tensor:
        """Return sums by plane `(planes,)`, each over all planes where these are one problem.

        Parameters
        ----------
        sums
            One number for each plane.

        Returns
        -------
            The same shape.
        """
        return sums if self.eigenvalues is not None else sums.sum().expand_as(sums)

    def objective(self, codes: torch.Tensor) -> float:
        """Return the objective at given codes, summed over the planes.

        Parameters
        ----------
        codes
            `(K, planes, y, x)`, complex.

        Returns
        -------
            ``1/2 ||A D s - y||^2 + sum_k ||Lambda_k s_k||_1``.
        """
        x = weighted_sum(self.spectra, codes)
        quadratic = ((0.5 * self.normal(x) - self.rhs).conj() * x).real
        norm = 0.0
        for code, weight in zip(codes, self.weights, strict=True):
            parts = torch.view_as_real(code)
            size = parts.abs().sum(-1) if self.penalty == "components" else code.abs()
            norm += float((weight * size).double().sum())
        n_pixels = x.shape[-2] * x.shape[-1]
        return self.energy + float(quadratic.double().sum()) / n_pixels + norm


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SparseCodes:
    """Codes with the history of their iteration."""

    codes: torch.Tensor
    """`(K, planes, y, x)`, complex; most entries are exactly zero."""

    iterations: int
    objective: tuple[float, ...]

    residual: tuple[float, ...]
    """Of the plane that is farthest from its end."""

    stopping_reason: str


def finished(codes: torch.Tensor, iterations: int, history: History) -> SparseCodes:
    """Return the record of a finished run.

    Parameters
    ----------
    codes
        Last codes.
    iterations
        Iterations done.
    history
        What was recorded on the way.

    Returns
    -------
        The record.
    """
    return SparseCodes(
        codes=codes,
        iterations=iterations,
        objective=tuple(history.objective),
        residual=tuple(history.residual),
        stopping_reason=history.reason,
    )
