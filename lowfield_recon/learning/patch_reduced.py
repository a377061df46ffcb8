r"""The denoising problem of a patch regulariser in the coefficients alone.

With ``H = I`` the image is eliminated exactly. What is left is

    ``min_a f(a) + R(a)``, ``f(a) = min_x 1/2 ||x - y||^2 + beta/2 ||U x - C a||^2``,

whose Hessian ``beta C^T (I - beta U (1 + beta U^T U)^-1 U^T) C`` is at most ``beta ||C||^2 < 1``,
so that the proximal operator with unit step applies. U is a correlation with circular boundary;
``U^T U`` is diagonal after a Fourier transform.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from lowfield_recon.errors import UsageError
from lowfield_recon.solvers.patch_regularizer import PatchRegularizer


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReducedProblem:
    """The problem in the coefficients, `(K, members, planes, groups)`, differentiable throughout.

    The pixels of a block whose coefficients are coupled are its members; without coupling there is
    one member, and every pixel is a group.
    """

    regularizer: PatchRegularizer
    """U, C, scales, beta and R."""

    spectra: torch.Tensor
    """Transforms of the filters U, `(r, y, x // 2 + 1)`."""

    gain: torch.Tensor
    """``1 / (1 + beta sum_u |U_u|^2)`` after the transform, `(y, x // 2 + 1)`."""

    noisy: torch.Tensor
    """Transform of y, `(planes, y, x // 2 + 1)`."""

    size: tuple[int, int]
    """Pixels along y and x."""

    def only(self, planes: slice | torch.Tensor) -> ReducedProblem:
        """Return the problem of some of the planes."""
        return ReducedProblem(
            regularizer=self.regularizer,
            spectra=self.spectra,
            gain=self.gain,
            noisy=self.noisy[planes],
            size=self.size,
        )

    def channels(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Return ``C a``, `(r, members, planes, groups)`."""
        flat: torch.Tensor = self.regularizer.factors @ coefficients.flatten(1)
        return flat.reshape(-1, *coefficients.shape[1:])

    def spectrum(self, channels: torch.Tensor, noisy: torch.Tensor | None = None) -> torch.Tensor:
        """Return the transform of ``(1 + beta U^T U)^-1 (y + beta U^T w)``; y None is zero."""
        images = torch.fft.rfft2(_as_images(channels, self.size, self._block))
        synthesis = torch.einsum("ryx,rpyx->pyx", self.spectra, images)
        synthesis = self.regularizer.beta * synthesis
        return self.gain * (synthesis if noisy is None else synthesis + noisy)

    def image(self, channels: torch.Tensor) -> torch.Tensor:
        """Return the image that belongs to ``w = C a``, `(planes, y, x)`."""
        spectrum = self.spectrum(channels, self.noisy)
        image: torch.Tensor = torch.fft.irfft2(spectrum, self.size)
        return image

    def residual(self, channels: torch.Tensor, spectrum: torch.Tensor) -> torch.Tensor:
        """Return ``beta (w - U x)`` for the transform of x."""
        products = self.spectra.conj()[:, None] * spectrum
        analysis = _as_members(torch.fft.irfft2(products, self.size), self._block)
        return self.regularizer.beta * (channels - analysis)

    def descend(self, coefficients: torch.Tensor, residual: torch.Tensor) -> torch.Tensor:
        """Return ``a - C^T q``, a step of length 1 for ``q = beta (w - U x)``."""
        flat = torch.addmm(
            coefficients.flatten(1), self.regularizer.factors.mT, residual.flatten(1), alpha=-1
        )
        return flat.reshape(coefficients.shape)

    def forward_step(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Return ``v = a - grad f(a)``."""
        channels = self.channels(coefficients)
        return self.descend(
            coefficients, self.residual(channels, self.spectrum(channels, self.noisy))
        )

    def without_curvature(self, direction: torch.Tensor) -> torch.Tensor:
        """Return ``(I - B) d`` with B the Hessian of f."""
        channels = self.channels(direction)
        return self.descend(direction, self.residual(channels, self.spectrum(channels)))

    def curvature_diagonal(self) -> torch.Tensor:
        """Return the diagonal of B, which is the same for all pixels, `(K,)`."""
        beta, factors = self.regularizer.beta, self.regularizer.factors
        n_y, n_x = self.size
        counts = torch.full_like(self.gain, 2.0)
        counts[:, 0] = 1
        if n_x % 2 == 0:
            counts[:, -1] = 1
        weights = self.gain * counts / (n_y * n_x)
        coupling = torch.einsum("ryx,yx,syx->rs", self.spectra.conj(), weights, self.spectra).real
        projected = factors - beta * (coupling @ factors)
        return beta * (factors * projected).sum(0)

    def shrink(self, v: torch.Tensor) -> torch.Tensor:
        """Return ``T(v)``."""
        flat = self.regularizer.potential.shrink(v.flatten(2), self.regularizer.scales)
        return flat.reshape(v.shape)

    def zeros(self) -> torch.Tensor:
        """Return coefficients that are all zero."""
        members = self._block**2
        n_y, n_x = self.size
        atoms = self.regularizer.factors.shape[1]
        shape = (atoms, members, self.noisy.shape[0], n_y * n_x // members)
        return torch.zeros(shape, dtype=self.gain.dtype, device=self.gain.device)

    @property
    def _block(self) -> int:
        return self.regularizer.potential.block


def reduced_problem(noisy: torch.Tensor, regularizer: PatchRegularizer) -> ReducedProblem:
    """Set up the problem in the coefficients for some noisy images.

    Parameters
    ----------
    noisy
        y, real, `(planes, y, x)`.
    regularizer
        The prior, in the same precision and on the same device.

    Returns
    -------
        The problem, differentiable in `noisy` and in the tensors of `regularizer`.

    Raises
    ------
    UsageError
        If an image is smaller than a patch, or its sides are not multiples of the block.

    Examples
    --------
    >>> from lowfield_recon.learning.patch_prior import PatchPrior, PatchPriorSettings
    >>> prior = PatchPrior(PatchPriorSettings(patch=3, atoms=4, free_atoms=4))
    >>> problem = reduced_problem(torch.ones(1, 8, 8), prior.regularizer())
    >>> a = problem.zeros()
    >>> a.shape, bool(torch.allclose(problem.image(problem.channels(a)), torch.ones(1)))
    (torch.Size([4, 1, 1, 64]), True)
    """
    if noisy.ndim != 3 or noisy.is_complex():
        raise UsageError(
            f"denoising: the images have shape {tuple(noisy.shape)}, {noisy.dtype}; expected real "
            "(planes, y, x)."
        )
    n_y, n_x = noisy.shape[-2:]
    k_y, k_x = regularizer.basis.shape[-2:]
    if n_y < k_y or n_x < k_x:
        raise UsageError(
            f"denoising: images of {n_y} x {n_x} pixels are smaller than the patches of {k_y} x "
            f"{k_x}; give larger ones."
        )
    block = regularizer.potential.block
    if n_y % block or n_x % block:
        raise UsageError(
            f"denoising: images of {n_y} x {n_x} pixels; expected multiples of {block}, since "
            f"blocks of {block} x {block} are coupled. Crop or pad them."
        )
    spectra = _spectra(regularizer.basis, (n_y, n_x))
    energy = torch.view_as_real(spectra).square().sum(dim=(0, -1))
    return ReducedProblem(
        regularizer=regularizer,
        spectra=spectra,
        gain=1 / (1 + regularizer.beta * energy),
        noisy=torch.fft.rfft2(noisy),
        size=(n_y, n_x),
    )


def inner_products(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return the inner product of each plane of two sets of coefficients.

    Parameters
    ----------
    first, second
        `(K, members, planes, groups)`.

    Returns
    -------
        `(planes,)`.

    Examples
    --------
    >>> a = torch.ones(3, 1, 2, 5)
    >>> inner_products(a, 2 * a)
    tensor([30., 30.])
    """
    if first.shape[2] == 1:
        return torch.dot(first.flatten(), second.flatten())[None]
    return (first * second).sum(dim=(0, 1, 3))


def _spectra(basis: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Transform filters whose centre is pixel (0, 0)."""
    k_y, k_x = basis.shape[-2:]
    padded = functional.pad(basis, (0, size[1] - k_x, 0, size[0] - k_y))
    centred = torch.roll(padded, (-(k_y // 2), -(k_x // 2)), dims=(-2, -1))
    spectra: torch.Tensor = torch.fft.rfft2(centred)
    return spectra


def _as_members(images: torch.Tensor, block: int) -> torch.Tensor:
    """Turn `(r, planes, y, x)` into `(r, members, planes, groups)`."""
    r, planes, n_y, n_x = images.shape
    if block == 1:
        return images.reshape(r, 1, planes, n_y * n_x)
    blocks = images.reshape(r, planes, n_y // block, block, n_x // block, block)
    return blocks.permute(0, 3, 5, 1, 2, 4).reshape(r, block * block, planes, -1)


def _as_images(channels: torch.Tensor, size: tuple[int, int], block: int) -> torch.Tensor:
    """Turn `(r, members, planes, groups)` into `(r, planes, y, x)`."""
    r, _, planes, _ = channels.shape
    n_y, n_x = size
    if block == 1:
        return channels.reshape(r, planes, n_y, n_x)
    blocks = channels.reshape(r, block, block, planes, n_y // block, n_x // block)
    return blocks.permute(0, 3, 4, 1, 5, 2).reshape(r, planes, n_y, n_x)
