"""The linear solve inside ADMM: exact, or a few warm-started conjugate gradient steps."""

from __future__ import annotations

import torch

from lowfield_recon.solvers.functionals import Apply, inner


class NormalEquations:
    r"""Solves ``(H + rho S) x = c`` for a sequence of c, S diagonal in Fourier space.

    With the eigenvalues h of H known (`exact`) the solve is a division in Fourier space. Otherwise
    `inner` steps of conjugate gradients, preconditioned by the circulant ``h + rho s``, start from
    the last solution; ``H x`` is carried along, so that a warm start costs no application of H.

    Parameters
    ----------
    gram
        x -> H x.
    eigenvalues
        h >= 0 in FFT order, broadcastable to x: those of H itself, or of a circulant near to it.
    symbol
        Eigenvalues s >= 0 of S in FFT order, broadcastable to x.
    exact
        Whether `eigenvalues` are those of H.
    inner_iterations
        Conjugate gradient steps per solve.
    axes
        Axes of the Fourier transform; None takes those of a volume, `(z, y, x)`.

    Examples
    --------
    >>> solve = NormalEquations(lambda x: x, torch.ones(1), torch.ones(1), exact=True)
    >>> solve(torch.tensor([[[2.0, 4.0]]]), 1.0, torch.zeros(1, 1, 2)).round(decimals=4)
    tensor([[[1., 2.]]])
    """

    def __init__(
        self,
        gram: Apply,
        eigenvalues: torch.Tensor,
        symbol: torch.Tensor,
        *,
        exact: bool,
        inner_iterations: int = 2,
        axes: tuple[int, ...] | None = None,
    ) -> None:
        """Store the system."""
        self._gram = gram
        self._eigenvalues = eigenvalues
        self._symbol = symbol
        self._exact = exact
        self._inner = inner_iterations
        self._axes = axes
        self._floor = 1e-6 * float(eigenvalues.max()) + 1e-30
        self._last: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None

    def __call__(self, c: torch.Tensor, rho: float, x: torch.Tensor) -> torch.Tensor:
        """Return the (approximate) solution for the right-hand side `c`, started at `x`."""
        if self._exact:
            solved = self._fft(c) / (self._eigenvalues + rho * self._symbol)
            return _real_as(self._ifft(solved), c)
        return self._steps(c, rho, x)

    def _steps(self, c: torch.Tensor, rho: float, x: torch.Tensor) -> torch.Tensor:
        if self._last is not None and self._last[0] is x:
            _, x_hat, gram_hat = self._last
        else:
            x_hat, gram_hat = self._fft(x), self._fft(self._gram(x))
        shifted = rho * self._symbol
        preconditioner = (self._eigenvalues + shifted).clamp_(min=self._floor).reciprocal_()
        r = self._fft(c) - gram_hat - shifted * x_hat
        p = r
        previous = 0.0
        for step in range(self._inner):
            z = preconditioner * r
            product = inner(r, z)
            if product <= 0:
                break
            p = z if step == 0 else torch.add(z, p, alpha=product / previous)
            gram_p = self._fft(self._gram(_real_as(self._ifft(p), c)))
            q = gram_p + shifted * p
            alpha = product / inner(p, q)
            x_hat = torch.add(x_hat, p, alpha=alpha)
            gram_hat = torch.add(gram_hat, gram_p, alpha=alpha)
            r = torch.sub(r, q, alpha=alpha)
            previous = product
        x = _real_as(self._ifft(x_hat), c)
        self._last = (x, x_hat, gram_hat)
        return x

    def _fft(self, x: torch.Tensor) -> torch.Tensor:
        spectrum: torch.Tensor = torch.fft.fftn(x, dim=self._axes or _axes(x), norm="ortho")
        return spectrum

    def _ifft(self, x: torch.Tensor) -> torch.Tensor:
        image: torch.Tensor = torch.fft.ifftn(x, dim=self._axes or _axes(x), norm="ortho")
        return image


def _axes(x: torch.Tensor) -> list[int]:
    return [d for d in (-3, -2, -1) if x.shape[d] > 1] or [-1]


def _real_as(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return x if like.is_complex() else x.real
