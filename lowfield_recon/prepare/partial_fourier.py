"""Partial Fourier: what was not sampled on one side of k-space, from the other side.

References
----------
Noll DC, Nishimura DG, Macovski A. Homodyne detection in magnetic resonance imaging. IEEE Trans Med
Imaging 1991;10:154-163. https://doi.org/10.1109/42.79473
Haacke EM, Lindskog ED, Lin W. A fast, iterative, partial-Fourier technique capable of local phase
recovery. J Magn Reson 1991;92:126-145. https://doi.org/10.1016/0022-2364(91)90253-P
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch

from lowfield_recon.errors import UsageError, nearest_name
from lowfield_recon.operators.fourier import centred_fft, centred_ifft

PartialFourierMethod = Literal["zero-filled", "homodyne", "pocs"]

PARTIAL_FOURIER_METHODS = ("zero-filled", "homodyne", "pocs")
"""Names of the methods."""

_SMALLEST_CENTRE = 4
_AXES = (-3, -2, -1)
_NAMES = {-3: "k2", -2: "k1", -1: "k0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledExtent:
    """Block of k-space that was acquired, as offsets from the centre.

    Examples
    --------
    >>> extent = SampledExtent(first=(0, -16, -32), last=(0, 31, 31), size=(1, 64, 64))
    >>> extent.partial_axes, extent.fraction(-2)
    ((-2,), 0.75)
    """

    first: tuple[int, int, int]
    """Lowest acquired offset along (k2, k1, k0)."""

    last: tuple[int, int, int]
    """Highest acquired offset."""

    size: tuple[int, int, int]
    """Size of the grid."""

    @property
    def partial_axes(self) -> tuple[int, ...]:
        """Axes, -3 to -1, that reach farther from the centre on one side than on the other."""
        return tuple(a for a in _AXES if abs(self.first[a] + self.last[a]) > 1)

    def centre(self, axis: int) -> int:
        """Return how far the sampled part is symmetric about the centre.

        Parameters
        ----------
        axis
            -3 to -1.

        Returns
        -------
            Offset in samples.
        """
        return min(-self.first[axis], self.last[axis])

    def fraction(self, axis: int) -> float:
        """Return the acquired part of the symmetric extent of an axis.

        Parameters
        ----------
        axis
            -3 to -1.

        Returns
        -------
            Above 0.5 where the centre was acquired, at most 1.
        """
        whole = 2 * max(-self.first[axis], self.last[axis] + 1)
        return (self.last[axis] - self.first[axis] + 1) / min(whole, self.size[axis])


def sampled_extent(mask: torch.Tensor, size: tuple[int, int, int]) -> SampledExtent:
    """Find the block of k-space that was acquired.

    Parameters
    ----------
    mask
        Acquired samples, bool, broadcastable to `(..., k2, k1, k0)`.
    size
        Size of the grid (k2, k1, k0).

    Returns
    -------
        First and last acquired offset along each axis.

    Raises
    ------
    UsageError
        If the acquired samples are not one complete block that holds the centre.

    Examples
    --------
    >>> mask = (torch.arange(16) >= 4).reshape(1, 16, 1)
    >>> sampled_extent(mask, (1, 16, 8)).first
    (0, -4, -4)
    """
    acquired = mask.bool().expand(*mask.shape[:-3], *size).reshape(-1, *size).all(dim=0)
    bounds = []
    for axis in range(3):
        where = acquired.any(dim=[d for d in range(3) if d != axis]).nonzero().flatten().tolist()
        bounds.append((where[0], where[-1]) if where else (0, -1))
    block = acquired[tuple(slice(low, high + 1) for low, high in bounds)]
    if block.numel() == 0 or not bool(block.all()):
        share = float(block.float().mean()) if block.numel() else 0.0
        raise UsageError(
            f"partial Fourier: {100 * share:.0f} % of the sampled part of k-space was acquired, "
            "expected one complete block; use 'zero-filled', with which an iterative method treats "
            "what is missing as unknown."
        )
    first = [low - n // 2 for (low, _), n in zip(bounds, size, strict=True)]
    last = [high - n // 2 for (_, high), n in zip(bounds, size, strict=True)]
    if max(first) > 0 or min(last) < 0:
        raise UsageError(
            "partial Fourier: the centre of k-space was not acquired; check axes and encoding "
            "limits, or use 'zero-filled'."
        )
    return SampledExtent(
        first=(first[0], first[1], first[2]), last=(last[0], last[1], last[2]), size=size
    )


def complete_partial_fourier(
    kspace: torch.Tensor,
    mask: torch.Tensor,
    method: PartialFourierMethod = "pocs",
    *,
    iterations: int = 20,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Fill the missing side of a partially sampled k-space, coil by coil.

    With the phase p of the image from the symmetric centre under a Hann taper:

    `"homodyne"`: ``K' = F Re(F^H(W K) exp(-i p)) exp(i p)``, where ``W(k) + W(-k) = 2`` falls
    linearly from 2 to 0 over the symmetric centre. `"pocs"`: in turn ``x = |F^H K| exp(i p)`` and
    ``K = F x`` with the acquired samples put back, so that these stay exactly. Both fill samples
    whose mirror image was acquired; others stay missing. A scan that is symmetric stays as it is.

    Parameters
    ----------
    kspace
        Complex, `(*other, coils, k2, k1, k0)`, zero where nothing was acquired.
    mask
        Acquired samples, bool, broadcastable to `kspace`: one complete block that holds the centre.
    method
        `"zero-filled"` (nothing is done), `"homodyne"` or `"pocs"`.
    iterations
        Of `"pocs"`.

    Returns
    -------
        k-space, and the mask `(1, 1, k2, k1, 1 or k0)` of what is now known.

    Raises
    ------
    UsageError
        If the method is unknown, the acquired samples are no block, or its symmetric centre is too
        narrow for a phase.

    Examples
    --------
    >>> kspace = torch.randn(1, 1, 1, 32, 8, dtype=torch.complex64)
    >>> mask = (torch.arange(32) >= 8).reshape(1, 1, 1, 32, 1)
    >>> filled, known = complete_partial_fourier(kspace * mask, mask)
    >>> bool(known.all()), torch.equal(filled[..., 8:, :], kspace[..., 8:, :])
    (False, True)

    References
    ----------
    Homodyne: https://doi.org/10.1109/42.79473. Projection onto convex sets:
    https://doi.org/10.1016/0022-2364(91)90253-P
    """
    if method not in PARTIAL_FOURIER_METHODS:
        raise UsageError(
            f"partial Fourier '{method}': {nearest_name(method, PARTIAL_FOURIER_METHODS)}"
        )
    if method == "zero-filled":
        return kspace, mask
    k2, k1, k0 = kspace.shape[-3:]
    extent = sampled_extent(mask, (k2, k1, k0))
    if not extent.partial_axes:
        return kspace, mask
    _check_centre(extent)
    acquired = mask.bool().expand(*mask.shape[:-3], k2, k1, k0).to(kspace.device)
    known = acquired | _mirrored(acquired)
    filled = torch.empty_like(kspace)
    phase_weights = _hann(extent).to(kspace)
    for c in range(kspace.shape[-4]):
        k = kspace[..., c : c + 1, :, :, :]
        phase = torch.sgn(centred_ifft(k * phase_weights, _AXES))
        if method == "homodyne":
            image = centred_ifft(k * _homodyne_weights(extent).to(k), _AXES)
            filled[..., c : c + 1, :, :, :] = known * centred_fft(
                (image * phase.conj()).real * phase, _AXES
            )
        else:
            filled[..., c : c + 1, :, :, :] = _pocs(k, acquired, known, phase, iterations)
    whole = known.any(dim=-1, keepdim=True)
    return filled, whole if bool((known == whole).all()) else known


def _pocs(
    k: torch.Tensor,
    acquired: torch.Tensor,
    known: torch.Tensor,
    phase: torch.Tensor,
    iterations: int,
) -> torch.Tensor:
    estimate = k
    for _ in range(iterations):
        image = centred_ifft(estimate, _AXES).abs() * phase
        estimate = torch.where(acquired, k, centred_fft(image, _AXES) * known)
    return estimate


def _check_centre(extent: SampledExtent) -> None:
    for axis in extent.partial_axes:
        if extent.centre(axis) < _SMALLEST_CENTRE:
            raise UsageError(
                f"partial Fourier: along {_NAMES[axis]} only {extent.centre(axis)} samples beyond "
                f"the centre were acquired, expected at least {_SMALLEST_CENTRE}; use "
                "'zero-filled'."
            )


def _mirrored(x: torch.Tensor) -> torch.Tensor:
    """Return ``x(-k)`` with the centre at n // 2; for even n the outermost sample is its own."""
    for axis in _AXES:
        n = x.shape[axis]
        index = (2 * (n // 2) - torch.arange(n, device=x.device)) % n
        x = x.index_select(axis, index)
    return x


def _outer(profiles: list[torch.Tensor]) -> torch.Tensor:
    k2, k1, k0 = profiles
    return k2[:, None, None] * k1[:, None] * k0


def _hann(extent: SampledExtent) -> torch.Tensor:
    """Return the taper that is zero outside of the symmetric centre, `(k2, k1, k0)`."""
    profiles = []
    for axis in _AXES:
        n = extent.size[axis]
        if n == 1:
            profiles.append(torch.ones(1))
            continue
        distance = (torch.arange(n) - n // 2).abs() / (extent.centre(axis) + 1)
        profiles.append(torch.cos(0.5 * math.pi * distance.clamp(max=1)).square())
    return _outer(profiles)


def _homodyne_weights(extent: SampledExtent) -> torch.Tensor:
    """Return W with ``W(k) + W(-k) = 2`` wherever k or -k was acquired."""
    profiles = []
    for axis in _AXES:
        n = extent.size[axis]
        offset = torch.arange(n) - n // 2
        inside = (offset >= extent.first[axis]) & (offset <= extent.last[axis])
        if axis in extent.partial_axes:
            towards = 1 if extent.last[axis] > -extent.first[axis] else -1
            ramp = 0.5 + 0.5 * towards * offset / (extent.centre(axis) + 1)
            profiles.append(ramp.clamp(0, 1) * inside)
        else:
            profiles.append(inside.float())
    V = _outer(profiles)
    return 2 * V / (V + _mirrored(V)).clamp(min=torch.finfo(V.dtype).tiny)
