"""Circulant operators near to a Gram, for preconditioning."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mrpro.operators.LinearOperator import LinearOperatorComposition

from lowfield_recon.mrpro_import import LinearOperator
from lowfield_recon.operators.capabilities import capabilities
from lowfield_recon.operators.cartesian import CartesianOp
from lowfield_recon.operators.noncartesian import NonCartesianOp

_SPATIAL = (-3, -2, -1)


def circulant_gram(operator: LinearOperator, image_shape: Sequence[int]) -> torch.Tensor | None:
    r"""Return the eigenvalues of the circulant nearest to ``A^H A``, where known.

    Nearest in the Frobenius norm: they are the diagonal of ``F A^H A F^H``. For coils with maps
    ``s_c`` and sampled frequencies m it is ``(1/N) sum_c |F s_c|^2 * m`` (circular correlation,
    orthonormal F); for a Gram diagonal in image space the mean of that diagonal. Of a trajectory it
    is the transfer function of the point spread function in the centre, bounded from below, which
    is near to the Gram but not the nearest.

    Parameters
    ----------
    operator
        Operator A.
    image_shape
        Shape of the image.

    Returns
    -------
        Real tensor in FFT order, broadcastable to the image; None where nothing is known.

    References
    ----------
    Chan TF. An optimal circulant preconditioner for Toeplitz systems. SIAM J Sci Stat Comput
    1988;9:766-771. https://doi.org/10.1137/0909051

    Examples
    --------
    >>> from lowfield_recon.operators import mask_operator
    >>> circulant_gram(mask_operator(torch.tensor([[[[1.0, 0.0]]]])), (1, 1, 1, 2))
    tensor([[[[0.5000]]]])
    """
    known = capabilities(operator)
    if known.gram_fourier is not None:
        return known.gram_fourier
    if known.gram_image is not None:
        return known.gram_image.mean(_SPATIAL, keepdim=True)
    if isinstance(operator, CartesianOp) and operator.coil_maps is not None:
        sampled = torch.ones(image_shape[-3:]) if operator.mask is None else operator.mask.float()
        return _coil_average(operator.coil_maps, torch.fft.ifftshift(sampled, dim=_SPATIAL))
    if isinstance(operator, NonCartesianOp):
        return _of_trajectory(operator, image_shape)
    if isinstance(operator, LinearOperatorComposition):
        outer = circulant_gram(operator._operator1, image_shape)
        symbol = capabilities(operator._operator2).symbol_fourier
        if outer is not None and symbol is not None:
            return outer * symbol.abs().square()
    return None


def _coil_average(coil_maps: torch.Tensor, sampled: torch.Tensor) -> torch.Tensor:
    """Return the sampled frequencies, smeared by the spectra of the coil maps."""
    axes = [d for d in _SPATIAL if coil_maps.shape[d] > 1]
    if not axes:
        return coil_maps.abs().square().sum(-4, keepdim=True) * sampled
    n_pixels = coil_maps.shape[-3:].numel()
    power: torch.Tensor | None = None
    for coil in range(coil_maps.shape[-4]):
        spectrum = torch.fft.fftn(coil_maps[..., coil : coil + 1, :, :, :], dim=axes)
        squares = spectrum.real.square() + spectrum.imag.square()
        power = squares if power is None else power.add_(squares)
    assert power is not None  # noqa: S101 - there is at least one coil
    power = power / n_pixels**2
    # Correlation: frequency k collects the samples k' with the weight |s(k' - k)|^2.
    smeared = torch.fft.ifftn(
        torch.fft.fftn(power, dim=axes).conj()
        * torch.fft.fftn(sampled.expand(power.shape), dim=axes),
        dim=axes,
    )
    eigenvalues: torch.Tensor = smeared.real.clamp_(min=0)
    return eigenvalues


def _of_trajectory(operator: NonCartesianOp, image_shape: Sequence[int]) -> torch.Tensor:
    """Return the transfer function of a point spread function, smeared by the coils."""
    size = tuple(image_shape[-3:])
    delta = torch.zeros((1, 1, *size), dtype=torch.complex64, device=operator.trajectory.kx.device)
    delta[..., size[0] // 2, size[1] // 2, size[2] // 2] = 1
    lead = operator.trajectory.kx.ndim - 4
    (spread,) = operator.fourier_op.gram(delta[(None,) * (lead - 1)])
    sampled: torch.Tensor = torch.fft.fftn(
        torch.fft.ifftshift(spread, dim=_SPATIAL), dim=_SPATIAL
    ).real
    # The gaps between the spokes are no null space, since the Toeplitz operator is not circulant.
    sampled.clamp_(min=0.3 * float(sampled.mean()))
    if operator.coil_maps is None:
        return sampled
    return _coil_average(operator.coil_maps, sampled)
