"""How images are scored, and problems without what they are scored against."""

from __future__ import annotations

import dataclasses

import torch

from lowfield_recon.errors import DataError
from lowfield_recon.evaluation.benchmark.quality_methods import compared, reference_of
from lowfield_recon.evaluation.benchmark.quality_scans import View
from lowfield_recon.evaluation.metrics import psnr, ssim
from lowfield_recon.problem import InverseProblem


class Measure:
    """Scores images of a problem as they would be written.

    Photographs are clipped to 0..1 and have the data range 1; of scans the magnitude or the real
    part counts, and the data range is the maximum of the reference.

    Parameters
    ----------
    problem
        Problem with its reference.
    view
        What of a scan's image is compared.
    """

    def __init__(self, problem: InverseProblem, view: View = "magnitude") -> None:
        """Prepare the reference."""
        self._problem = problem
        self._view: View = view
        self._is_photograph = problem.image_domain != "complex"
        reference = problem.reference
        if reference is None:
            raise DataError("problem: has no reference to score against.")
        self._reference = (
            reference.double().numpy() if self._is_photograph else reference_of(problem, view)
        )
        self._range = 1.0 if self._is_photograph else float(self._reference.max())

    def psnr(self, image: torch.Tensor) -> float:
        """Return the PSNR of an image [dB]."""
        return psnr(self._compared(image), self._reference, data_range=self._range)

    def ssim(self, image: torch.Tensor) -> float:
        """Return the structural similarity of an image."""
        return ssim(self._compared(image), self._reference, data_range=self._range)

    def _compared(self, image: torch.Tensor) -> object:
        if self._is_photograph:
            return image.detach().cpu().real.double().clamp(0, 1).numpy()
        return compared(image, self._problem, self._view)


def blind(problem: InverseProblem) -> InverseProblem:
    """Return a problem without its reference, for the methods.

    Parameters
    ----------
    problem
        The problem.

    Returns
    -------
        The same data and operator.
    """
    return dataclasses.replace(problem, reference=None)
