r"""The adjoint recursion of unrolled sparse coding.

With ``J`` the derivative of the shrinkage, bars for gradients, N the number of pixels and ``F`` the
unnormalised DFT, the backward pass of FISTA on ``s / tau`` is, for n from T - 1 down,

    ``u(n) = J s_bar(n+1)``, ``p = sum_k d_k F u_k(n)``, ``b_bar += p / N``,
    ``z_bar(n) = u(n) - F^-1 [conj(d_k) tau A^H A p]``,
    ``s_bar(n) = (1 + w(n)) z_bar(n) - w(n+1) z_bar(n+1)``.

u is not zero on the support of iteration n only, and all else in ``s_bar`` is one inverse transform
of a combination of images, so that nothing of the size of the codes is carried along. ADMM is
treated likewise, on the gradient of its state times ``rho_k``.
"""

from __future__ import annotations

import torch

from lowfield_recon.learning.compact_codes import (
    CompactCodes,
    add_compact,
    lanes,
    shrink_backward,
    transform_compact,
    unpack_positions,
)
from lowfield_recon.learning.unrolled_iterations import OVER_RELAXATION, Penalties, Unrolling


def backward(
    plan: Unrolling, gradient: torch.Tensor, weights: torch.Tensor, kept: list[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the gradients with respect to `rhs` and `weights` of `forward`.

    Parameters
    ----------
    plan, weights
        As in `forward`.
    gradient
        Gradient with respect to its result.
    kept
        What it kept.

    Returns
    -------
        Gradients, complex `(planes, y, x)` and real `(K, planes, y, x)`.
    """
    if plan.iterations == plan.first:
        return torch.zeros_like(gradient), torch.zeros_like(weights)
    backwards = _Backwards(plan, weights, kept)
    if plan.admm is None:
        rhs_gradient = backwards.fista(gradient)
    else:
        rhs_gradient = backwards.admm(plan.admm, gradient)
    n_pixels = gradient.shape[-2] * gradient.shape[-1]
    return rhs_gradient / n_pixels, backwards.weights_gradient()


class _Backwards:
    """The adjoint recursion; gathers the gradient of the weights on its way."""

    def __init__(self, plan: Unrolling, weights: torch.Tensor, kept: list[torch.Tensor]) -> None:
        self.plan, self.weights, self.kept = plan, weights, kept
        self.rows = tuple(plan.rows())
        lane_axis = () if plan.penalty == "modulus" else (2,)
        self.gathered = weights.new_zeros(*weights.shape, *lane_axis)
        self.lanes_of_plane = self.gathered[0, 0].numel()

    def weights_gradient(self) -> torch.Tensor:
        return self.gathered if self.plan.penalty == "modulus" else self.gathered.sum(dim=-1)

    def positions(self, n: int, i: int) -> torch.Tensor:
        """Return the support of chunk i in iteration n."""
        return unpack_positions(self.kept[self._place(n, i)])

    def shrinkage(
        self, n: int, i: int, positions: torch.Tensor, gradient: torch.Tensor
    ) -> CompactCodes:
        """Go back through the shrinkage of chunk i in iteration n, on its support."""
        before, k = self.kept[self._place(n, i) + 1], self.rows[i]
        threshold = None
        if self.plan.penalty == "modulus":
            threshold = self.weights[k].view(-1).index_select(0, positions)
        gradient, of_threshold = shrink_backward(before, gradient, threshold)
        if self.plan.admm is not None:
            rho = self.plan.admm.rho[k].flatten()
            of_threshold = of_threshold / rho[positions // self.lanes_of_plane]
        self.gathered[k].view(-1).scatter_add_(0, positions, of_threshold)
        return CompactCodes(positions=positions, values=gradient, before=before)

    def _place(self, n: int, i: int) -> int:
        return 2 * ((n - self.plan.first) * len(self.rows) + i)

    def fista(self, gradient: torch.Tensor) -> torch.Tensor:
        plan, kind = self.plan, self.plan.penalty
        later: list[CompactCodes | None] = [None] * len(self.rows)
        latest = list(later)
        n_pixels = gradient.shape[-2] * gradient.shape[-1]
        source, y, y_later = n_pixels * plan.tau * gradient, None, None
        rhs_gradient = torch.zeros_like(gradient)
        weights = (*plan.extrapolations, 0.0, 0.0)
        for n in range(plan.iterations - 1, plan.first - 1, -1):
            ahead, behind = 1 + weights[n + 1], -weights[n + 2]
            if y is not None:
                source = -ahead * y if y_later is None else -ahead * y - behind * y_later
            p = torch.zeros_like(gradient)
            for i, k in enumerate(self.rows):
                s_bar = torch.fft.ifft2(plan.conjugate[k] * source)
                for old, factor in ((later[i], ahead), (latest[i], behind)):
                    if old is not None and factor:
                        add_compact(s_bar, old, factor, kind)
                at = self.positions(n, i)
                u = self.shrinkage(n, i, at, lanes(s_bar, kind).index_select(0, at))
                latest[i], later[i] = later[i], u
                p += transform_compact(u, plan.filters[k], s_bar, kind)
            rhs_gradient += p
            y, y_later = plan.tau * plan.normal(p), y
        return rhs_gradient

    def admm(self, penalties: Penalties, gradient: torch.Tensor) -> torch.Tensor:
        plan, kind, alpha = self.plan, self.plan.penalty, OVER_RELAXATION
        state = gradient.new_zeros(self.weights.shape)
        n_pixels = gradient.shape[-2] * gradient.shape[-1]
        # As if 2 y came from the last image: the result is v, not 2 v - a.
        source, last = 0.5 * n_pixels * gradient, True
        image = torch.zeros_like(gradient)
        rhs_gradient = torch.zeros_like(gradient)
        for n in range(plan.iterations - 1, plan.first - 1, -1):
            image = (1 - alpha) * image
            if not last:
                image -= penalties.spread * source
            for i, k in enumerate(self.rows):
                b, y = state[k], torch.fft.ifft2(plan.conjugate[k] * source)
                at = self.positions(n, i)
                of_v = lanes(y, kind).index_select(0, at).mul_(2)
                of_v.add_(lanes(b, kind).index_select(0, at), alpha=alpha)
                u = self.shrinkage(n, i, at, of_v)
                if not last:
                    b.mul_(1 - alpha).sub_(y)
                add_compact(b, u, 1.0, kind)
                scaled = u.scaled(1 / penalties.rho[k].flatten(), self.lanes_of_plane)
                image += transform_compact(scaled, plan.filters[k], y, kind)
            back = alpha * penalties.inverse * image
            rhs_gradient += back
            source, last = -plan.normal(back), False
        return rhs_gradient
