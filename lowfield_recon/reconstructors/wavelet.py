"""Sparse wavelet details."""

from __future__ import annotations

import torch
from pydantic import Field

from lowfield_recon.operators.wavelet import ShiftInvariantWaveletOp, WaveletOp, padded_size
from lowfield_recon.problem import InverseProblem, ProgressCallback
from lowfield_recon.reconstructors.base import IterativeSettings, watch
from lowfield_recon.reconstructors.data_term import DataTerm
from lowfield_recon.reconstructors.regularized import (
    CHECK_EVERY,
    SPLITTING_THRESHOLD,
    RegularizedReconstructor,
)
from lowfield_recon.solvers import LeastSquares, SolverResult, admm, fista, pdhg, shrink_modulus
from lowfield_recon.solvers.functionals import squared_modulus
from lowfield_recon.solvers.normal_equations import NormalEquations


class WaveletSettings(IterativeSettings):
    """Settings of `wavelet`."""

    iterations: int = Field(default=200, ge=1, description="most iterations")
    tolerance: float = Field(
        default=1e-4, ge=0,
        description="relative step to stop at; shift-invariant: ten times it as relative residual",
    )  # fmt: skip
    wavelet: str = Field(default="db4", description="haar, db1 to db10 or sym2 to sym5")
    levels: int | None = Field(
        default=None, ge=1, description="levels; None: floor(log2 n) - 3 of each axis"
    )
    shift_invariant: bool = Field(
        default=False, description="average over all shifts of the transform"
    )


class Wavelet(RegularizedReconstructor[WaveletSettings]):
    r"""``argmin_x 1/2 ||A x - y||^2 + w ||W x||_1`` over the detail bands of a wavelet transform.

    The modulus of the complex coefficients is penalised, the coarse approximation is free. With the
    unitary periodic W it is solved by FISTA with restart; an image whose size cannot be halved
    often enough is continued freely to one that can. With `shift_invariant` the penalty is the mean
    of ``||W x||_1`` over all shifts, a weighted norm of a Parseval frame, solved by ADMM. The
    weight that is chosen when none is given is `weight_per_noise` standard deviations of the noise
    of one pixel of ``A^H y``.

    References
    ----------
    Lustig M, Donoho D, Pauly JM. Magn Reson Med 2007;58:1182-1195.
    https://doi.org/10.1002/mrm.21391
    Coifman RR, Donoho DL. Translation-invariant de-noising.
    https://doi.org/10.1007/978-1-4612-2544-7_9
    """

    name = "wavelet"
    summary = "sparse orthogonal wavelet details, by FISTA (shift-invariant: by ADMM)"
    settings_type = WaveletSettings
    weight_per_noise = 0.8

    def minimise(
        self,
        problem: InverseProblem,
        term: DataTerm,
        eigenvalues: torch.Tensor,
        weight: float,
        progress: ProgressCallback | None,
    ) -> SolverResult:
        """Minimise the wavelet functional."""
        if self.settings.shift_invariant:
            return self._frame(term, eigenvalues, weight, progress)
        return self._orthogonal(problem, term, weight, progress)

    def _orthogonal(
        self,
        problem: InverseProblem,
        term: DataTerm,
        weight: float,
        progress: ProgressCallback | None,
    ) -> SolverResult:
        settings = self.settings
        size = padded_size(problem.shape, settings.levels)
        smooth = _continued(term.smooth, size)
        wavelet = WaveletOp(smooth.rhs.shape, settings.wavelet, settings.levels)
        z, y, x = wavelet.coarse_size
        total = settings.iterations
        callback = watch(progress, settings.budget, total=total)

        def shrink(c: torch.Tensor, threshold: float) -> torch.Tensor:
            kept = c[..., :z, :y, :x].clone()
            c = shrink_modulus(c, threshold)
            c[..., :z, :y, :x] = kept
            return c

        def details(c: torch.Tensor) -> float:
            """Return ``w ||c||_1`` of the detail bands."""
            modulus = squared_modulus(c).sqrt_()
            return weight * float(modulus.sum() - modulus[..., :z, :y, :x].sum())

        coefficients = smooth.rhs

        def shrunk_image(v: torch.Tensor, tau: float) -> torch.Tensor:
            nonlocal coefficients
            coefficients = shrink(wavelet(v)[0], weight * tau)
            return wavelet.adjoint(coefficients)[0]

        if problem.image_domain == "nonnegative":
            result = pdhg(
                smooth, wavelet, lambda p, sigma: p - sigma * shrink(p / sigma, weight / sigma),
                initial=smooth.rhs.clamp(min=0), lipschitz=term.lipschitz, transform_norm=1.0,
                primal_prox=lambda x, _: x.clamp(min=0), penalty=lambda x: details(wavelet(x)[0]),
                iterations=total, tolerance=settings.tolerance, callback=callback,
            )  # fmt: skip
        else:
            # W is unitary, so the coefficients of a new image are those that it was made from.
            result = fista(
                smooth, shrunk_image, initial=smooth.rhs, lipschitz=term.lipschitz,
                penalty=lambda _: details(coefficients), iterations=total,
                tolerance=settings.tolerance, callback=callback,
            )  # fmt: skip
        return _cropped(result, problem.shape)

    def _frame(
        self,
        term: DataTerm,
        eigenvalues: torch.Tensor,
        weight: float,
        progress: ProgressCallback | None,
    ) -> SolverResult:
        settings = self.settings
        rhs = term.smooth.rhs
        wavelet = ShiftInvariantWaveletOp(rhs.shape, settings.wavelet, settings.levels)
        weights = [weight * w for w in wavelet.band_weights]
        solve = NormalEquations(
            term.smooth.gram,
            eigenvalues,
            torch.ones(1, 1, 1, dtype=rhs.real.dtype, device=rhs.device),
            exact=term.fourier is not None,
        )

        def dual_projection(t: torch.Tensor, rho: float) -> torch.Tensor:
            for band, w in zip(t, weights, strict=True):
                band.sub_(shrink_modulus(band, w / rho))
            return t

        def objective(x: torch.Tensor) -> float:
            (bands,) = wavelet(x)
            sparse = sum(
                w * float(squared_modulus(b).sqrt_().sum())
                for w, b in zip(weights, bands, strict=True)
            )
            return term.misfit(x) + sparse

        return admm(
            solve, rhs, wavelet, dual_projection, initial=rhs,
            rho=max(weight, 1e-8) / SPLITTING_THRESHOLD, objective=objective,
            iterations=settings.iterations, tolerance=10 * settings.tolerance,
            check_every=CHECK_EVERY,
            callback=watch(progress, settings.budget, total=settings.iterations, every=CHECK_EVERY),
        )  # fmt: skip


def _continued(smooth: LeastSquares, size: tuple[int, ...]) -> LeastSquares:
    """Return the data term of an image continued to a larger size, which the data does not see."""
    shape = smooth.rhs.shape
    if tuple(shape[-3:]) == size:
        return smooth

    def padded(x: torch.Tensor) -> torch.Tensor:
        larger = x.new_zeros((*shape[:-3], *size))
        larger[..., : shape[-3], : shape[-2], : shape[-1]] = x
        return larger

    def gram(x: torch.Tensor) -> torch.Tensor:
        return padded(smooth.gram(x[..., : shape[-3], : shape[-2], : shape[-1]].contiguous()))

    return LeastSquares(gram, padded(smooth.rhs), smooth.constant)


def _cropped(result: SolverResult, shape: tuple[int, ...]) -> SolverResult:
    image = result.solution[..., : shape[-3], : shape[-2], : shape[-1]].contiguous()
    return SolverResult(
        solution=image, iterations=result.iterations, objective=result.objective,
        residual=result.residual, stopping_reason=result.stopping_reason,
    )  # fmt: skip
