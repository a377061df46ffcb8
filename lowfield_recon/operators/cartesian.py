"""Cartesian sampling, with a Gram that transforms only the undersampled axes."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
import torch

from lowfield_recon.errors import DataError
from lowfield_recon.mrpro_import import LinearOperator
from lowfield_recon.operators.capabilities import Capabilities
from lowfield_recon.operators.fourier import centre_phases, modulate

_SPATIAL = (-3, -2, -1)


def is_finite(x: torch.Tensor) -> bool:
    """Return whether no value is NaN or infinite, in one pass: a sum stays finite only then.

    Parameters
    ----------
    x
        Real or complex tensor.

    Returns
    -------
        Whether all values are finite.

    Examples
    --------
    >>> is_finite(torch.tensor([1.0, float("nan")]))
    False
    """
    parts = torch.view_as_real(x) if x.is_complex() else x
    # A sum of finite numbers may overflow, so that only a finite one decides.
    return bool(torch.isfinite(parts.sum())) or bool(torch.isfinite(x).all())


def checked_mask(mask: torch.Tensor, name: str = "mask") -> torch.Tensor:
    """Return a mask as bool after checking that it holds only zeros and ones, and at least a one.

    Parameters
    ----------
    mask
        Bool or 0/1 tensor with at least four axes.
    name
        How errors call it.

    Returns
    -------
        The mask, bool, of the same shape.

    Raises
    ------
    DataError
        If it has other values, too few axes or keeps nothing.

    Examples
    --------
    >>> checked_mask(torch.tensor([[[[1.0, 0.0]]]]))
    tensor([[[[ True, False]]]])
    """
    if mask.ndim < 4:
        raise DataError(
            f"{name}: expected at least four axes, broadcastable to the data, got shape "
            f"{tuple(mask.shape)}; add singleton axes."
        )
    if mask.dtype != torch.bool:
        if not bool(((mask == 0) | (mask == 1)).all()):
            raise DataError(
                f"{name}: expected bool or only zeros and ones, got {mask.dtype} with other values."
            )
        mask = mask != 0
    if not bool(mask.any()):
        raise DataError(f"{name}: keeps no sample at all; expected at least one.")
    return mask


class CartesianOp(LinearOperator, adjoint_as_backward=True):
    """Coil maps, centred orthonormal Fourier transform and sampling mask, ``A = P F S``.

    ``A^H A`` needs no shifts, since those are diagonal phases that cancel, and no transform along
    axes on which the mask does not depend, since there ``F^H F = I``.
    """

    coil_maps: torch.Tensor | None
    mask: torch.Tensor | None

    def __init__(
        self,
        *,
        mask: torch.Tensor | None = None,
        coil_maps: torch.Tensor | None = None,
        image_shape: tuple[int, ...] | None = None,
    ) -> None:
        """Store maps and mask; use `kspace_operator`, which checks them."""
        super().__init__()
        self.mask = None if mask is None else checked_mask(mask)
        self.image_size = image_shape
        if coil_maps is not None and self.mask is not None:
            _check_fit(self.mask, coil_maps)
        # The axes that the Gram transforms lie innermost, so that it works on contiguous lines.
        self.coil_maps = None if coil_maps is None else _laid_out(coil_maps, self.masked_axes)

    @property
    def masked_axes(self) -> tuple[int, ...]:
        """Axes (negative) along which the mask varies."""
        if self.mask is None:
            return ()
        return tuple(d for d in _SPATIAL if self.mask.shape[d] > 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor,]:
        """Return the k-space `(*other, coils, k2, k1, k0)` of images `(*other, 1, z, y, x)`."""
        axes = [d for d in _SPATIAL if x.shape[d] > 1]
        x = modulate(_as_complex(x), axes)
        if self.coil_maps is None:
            return (self._sampled(_fft(x, axes), axes, conjugate=False),)
        weight = self._kspace_weight(x, axes)
        shape = np.broadcast_shapes(x.shape, self.coil_maps.shape)
        kspace = torch.empty(shape, dtype=x.dtype, device=x.device)
        for coil in range(shape[-4]):
            transformed = _fft(_coil(self.coil_maps, coil) * x, axes)
            torch.mul(transformed, _coil(weight, coil), out=_coil(kspace, coil))
        return (kspace,)

    def adjoint(self, x: torch.Tensor) -> tuple[torch.Tensor,]:
        """Return ``S^H F^H P y`` of k-space y, shape `(*other, 1, z, y, x)`."""
        kspace = _as_complex(x)
        axes = [d for d in _SPATIAL if x.shape[d] > 1]
        if self.coil_maps is None:
            image = _ifft(self._sampled(kspace, axes, conjugate=True), axes)
            return (modulate(image, axes, conjugate=True),)
        weight = self._kspace_weight(kspace, axes).conj_physical()
        # One coil in memory at a time, as the conjugate of sum_c s_c conj(F^H P y_c).
        conjugate: torch.Tensor | None = None
        for coil in range(self.coil_maps.shape[-4]):
            image = _ifft(_coil(kspace, coil) * _coil(weight, coil), axes).conj_physical_()
            maps = _coil(self.coil_maps, coil)
            conjugate = image.mul_(maps) if conjugate is None else conjugate.addcmul_(image, maps)
        assert conjugate is not None  # noqa: S101 - there is at least one coil
        return (modulate(conjugate.conj_physical_(), axes, conjugate=True),)

    def _sampled(self, kspace: torch.Tensor, axes: list[int], *, conjugate: bool) -> torch.Tensor:
        """Return k-space of one coil times mask and centring phases, in two passes."""
        masked = [d for d in axes if d in self.masked_axes]
        phases = centre_phases(kspace, masked).reshape(1, 1, *_padded_size(kspace, masked))
        weight = phases if self.mask is None else phases * self.mask
        sampled = kspace * (weight.conj_physical() if conjugate else weight)
        rest = [d for d in axes if d not in masked]
        for d in rest:
            phase = centre_phases(kspace, [d])
            sampled.mul_(phase.conj_physical() if conjugate else phase)
        return sampled

    def _kspace_weight(self, like: torch.Tensor, axes: list[int]) -> torch.Tensor:
        """Return the mask times the phases that centre k-space, `(*other, coils or 1, z, y, x)`."""
        phases = centre_phases(like, axes).reshape(1, 1, *_padded_size(like, axes))
        return phases if self.mask is None else phases * self.mask

    @property
    def gram(self) -> LinearOperator:
        """Gram operator ``A^H A``."""
        return CartesianGramOp(self.mask, self.coil_maps)

    def capabilities(self) -> Capabilities:
        """Return what is known of the operator."""
        gram_fourier = gram_image = None
        if self.coil_maps is None:
            gram_fourier = _fft_order(self.mask)
            if self.mask is None:
                gram_image = gram_fourier
        elif self.mask is None:
            gram_image = self._sum_of_squares()
        bound = 1.0 if self.coil_maps is None else self._bound
        exact = gram_fourier is not None or gram_image is not None
        return Capabilities(
            gram_fourier=gram_fourier,
            gram_image=gram_image,
            norm_bound=bound,
            norm_is_exact=exact,
            data_domain="kspace",
        )

    @cached_property
    def _bound(self) -> float:
        return math.sqrt(float(self._sum_of_squares().max()))

    def _sum_of_squares(self) -> torch.Tensor:
        assert self.coil_maps is not None  # noqa: S101 - callers asked
        parts = torch.view_as_real(self.coil_maps)
        total: torch.Tensor | None = None
        for coil in range(self.coil_maps.shape[-4]):
            part = parts[..., coil : coil + 1, :, :, :, :]
            total = part.square() if total is None else total.addcmul_(part, part)
        assert total is not None  # noqa: S101 - there is at least one coil
        return total[..., 0] + total[..., 1]

    def image_shape_for(self, data_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of x for k-space of a shape, or raise `DataError`."""
        expected = data_shape[-3:] if self.image_size is None else self.image_size
        n_coils = 1 if self.coil_maps is None else self.coil_maps.shape[-4]
        if data_shape[-3:] != expected or data_shape[-4] != n_coils:
            raise DataError(
                f"data: expected k-space (*other, {n_coils}, {', '.join(map(str, expected))}), "
                "as the "
                f"operator has {n_coils} coil(s), got {data_shape}; use maps and data of one scan."
            )
        for name, tensor in (("mask", self.mask), ("coil_maps", self.coil_maps)):
            if tensor is not None and not _fits(tensor.shape, data_shape):
                raise DataError(
                    f"{name}: {tuple(tensor.shape)} cannot be broadcast to the data {data_shape}; "
                    "expected (*other, coils, k2, k1, k0) with 1 where it does not vary."
                )
        return (*data_shape[:-4], 1, *expected)


class CartesianGramOp(LinearOperator, adjoint_as_backward=True):
    """``S^H F^H P F S`` coil by coil, transforming only the axes along which the mask varies."""

    coil_maps: torch.Tensor | None
    weight: torch.Tensor | None

    def __init__(self, mask: torch.Tensor | None, coil_maps: torch.Tensor | None) -> None:
        """Prepare the mask in FFT order, with the axes that are transformed innermost."""
        super().__init__()
        self._axes = () if mask is None else tuple(d for d in _SPATIAL if mask.shape[d] > 1)
        self._per_coil = mask is not None and mask.shape[-4] > 1
        self._order = _innermost(self._axes)
        self._inverse_order = tuple(sorted(range(4), key=lambda i: self._order[i]))
        self._scale = 1.0 if mask is None else 1.0 / math.prod(mask.shape[d] for d in self._axes)
        self.weight = None if mask is None else _conjugating(self._permuted(_fft_order(mask)))
        self.coil_maps = None if coil_maps is None else self._permuted(coil_maps)

    def _permuted(self, x: torch.Tensor) -> torch.Tensor:
        lead = tuple(range(x.ndim - 4))
        return x.permute(*lead, *(len(lead) + i for i in self._order))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor,]:
        """Apply ``A^H A`` to images `(*other, 1, z, y, x)`."""
        x = (self._permuted(_as_complex(x)) * self._scale).contiguous()
        if self.coil_maps is None:
            gathered = self._filtered(x, 0).conj()
        else:
            conjugate: torch.Tensor | None = None
            for coil in range(self.coil_maps.shape[-4]):
                maps = _coil(self.coil_maps, coil)
                filtered = self._filtered(maps * x, coil)
                if conjugate is None:
                    conjugate = filtered.mul_(maps) if filtered.is_contiguous() else filtered * maps
                else:
                    conjugate.addcmul_(filtered, maps)
            assert conjugate is not None  # noqa: S101 - there is at least one coil
            gathered = conjugate.conj()
        lead = tuple(range(x.ndim - 4))
        result = gathered.permute(*lead, *(len(lead) + i for i in self._inverse_order))
        # One pass that conjugates and puts the axes back in order.
        return (torch.empty(result.shape, dtype=x.dtype, device=x.device).copy_(result),)

    def _filtered(self, coil_image: torch.Tensor, coil: int) -> torch.Tensor:
        """Return ``conj(F^H P F c)`` as ``F conj(P F c) / n``, the scale already in c."""
        axes = tuple(range(-len(self._axes), 0))
        kspace = torch.fft.fftn(coil_image, dim=axes) if axes else coil_image.clone()
        weight = self.weight
        if weight is None:
            torch.view_as_real(kspace)[..., 1].neg_()
            return kspace
        if self._per_coil:
            weight = weight[..., coil : coil + 1, :, :, :, :]
        torch.view_as_real(kspace).mul_(weight.to(kspace.real.dtype))
        return torch.fft.fftn(kspace, dim=axes) if axes else kspace

    def adjoint(self, x: torch.Tensor) -> tuple[torch.Tensor,]:
        """Apply the Gram, which is its own adjoint."""
        return self.forward(x)


def _coil(x: torch.Tensor, coil: int) -> torch.Tensor:
    """Return one coil of `(*other, coils, z, y, x)` as a view; all of it where coils share it."""
    return x if x.shape[-4] == 1 else x[..., coil : coil + 1, :, :, :]


def _padded_size(like: torch.Tensor, axes: list[int]) -> tuple[int, ...]:
    return tuple(like.shape[d] if d in axes else 1 for d in _SPATIAL)


def _fft(x: torch.Tensor, axes: list[int]) -> torch.Tensor:
    transformed: torch.Tensor = torch.fft.fftn(x, dim=axes, norm="ortho") if axes else x.clone()
    return transformed


def _ifft(x: torch.Tensor, axes: list[int]) -> torch.Tensor:
    transformed: torch.Tensor = torch.fft.ifftn(x, dim=axes, norm="ortho") if axes else x
    return transformed


def _as_complex(x: torch.Tensor) -> torch.Tensor:
    if x.is_complex():
        return x
    return x.to(torch.complex128 if x.dtype == torch.float64 else torch.complex64)


def _innermost(axes: tuple[int, ...]) -> tuple[int, ...]:
    """Order of (coils, z, y, x) that puts some spatial axes last, and keeps the coils first."""
    return (0, *(4 + d for d in _SPATIAL if d not in axes), *(4 + d for d in axes))


def _laid_out(coil_maps: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
    """Return the same maps, in memory with some axes innermost."""
    order = _innermost(axes)
    inverse = sorted(range(4), key=lambda i: order[i])
    lead = tuple(range(coil_maps.ndim - 4))
    permuted = coil_maps.permute(*lead, *(len(lead) + i for i in order)).contiguous()
    return permuted.permute(*lead, *(len(lead) + i for i in inverse))


def _fft_order(mask: torch.Tensor | None) -> torch.Tensor:
    """Return a mask as float with the zero frequency first."""
    if mask is None:
        return torch.ones(1, 1, 1, 1)
    reordered: torch.Tensor = torch.fft.ifftshift(mask, dim=_SPATIAL)
    return reordered.float()


def _conjugating(weight: torch.Tensor) -> torch.Tensor:
    """Return the factors of real and imaginary part that weight and conjugate at once."""
    return torch.stack((weight, -weight), dim=-1)


def _fits(shape: tuple[int, ...] | torch.Size, data_shape: tuple[int, ...]) -> bool:
    if len(shape) > len(data_shape):
        return False
    pairs = zip(reversed(shape), reversed(data_shape), strict=False)
    return all(n in (1, m) for n, m in pairs)


def _check_fit(mask: torch.Tensor, coil_maps: torch.Tensor) -> None:
    try:
        shape = np.broadcast_shapes(mask.shape, coil_maps.shape)
    except ValueError:
        shape = ()
    if tuple(shape[-4:]) != tuple(coil_maps.shape[-4:]):
        raise DataError(
            f"mask: expected to be broadcastable to the coil maps (*other, coils, k2, k1, k0) = "
            f"{tuple(coil_maps.shape)}, got {tuple(mask.shape)}; use mask and maps of the same "
            "scan."
        )
