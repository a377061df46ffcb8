"""Sparse codes kept as positions and values: shrinking, its derivative, and the transform back.

Of a chunk of codes only the entries that exceed their threshold are kept. A code is one complex
number for the penalty on the modulus, and two real numbers, real and imaginary part, for the
penalty on the components; positions count along the flattened chunk in these units ("lanes").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from lowfield_recon.solvers.sparse_coding import Penalty

_DENSE = 0.25


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CompactCodes:
    """The codes of one chunk that are not zero."""

    positions: torch.Tensor
    """Where, int64 `(n,)`, ascending, in lanes."""

    values: torch.Tensor
    """The codes there `(n,)`, complex (modulus) or real (components)."""

    before: torch.Tensor
    """`"modulus"`: what they were before shrinking; `"components"`: its sign. `(n,)`."""

    def scaled(self, factor: torch.Tensor, lanes: int) -> CompactCodes:
        """Return the codes times one factor for each image of `lanes` lanes in the chunk.

        Parameters
        ----------
        factor
            One number for each image, flat.
        lanes
            Lanes of an image.

        Returns
        -------
            Codes at the same positions.
        """
        values = self.values * factor[self.positions // lanes]
        return CompactCodes(positions=self.positions, values=values, before=self.before)


def lanes(codes: torch.Tensor, penalty: Penalty) -> torch.Tensor:
    """View contiguous codes as one row of lanes.

    Parameters
    ----------
    codes
        Complex, contiguous.
    penalty
        Whether a lane is a complex number (`"modulus"`) or half of one.

    Returns
    -------
        A flat view.
    """
    return codes.view(-1) if penalty == "modulus" else torch.view_as_real(codes).view(-1)


def shrink_to_compact(
    codes: torch.Tensor, threshold: torch.Tensor, penalty: Penalty
) -> CompactCodes:
    """Shrink codes and keep those that are left.

    Parameters
    ----------
    codes
        Complex `(k, planes, y, x)`, contiguous.
    threshold
        Real, >= 0, of the same shape, contiguous.
    penalty
        See `lowfield_recon.solvers.sparse_coding.shrink`.

    Returns
    -------
        The codes that `shrink` leaves different from zero.
    """
    squares = torch.view_as_real(codes).square()
    size = squares[..., 0] + squares[..., 1]
    # No component exceeds the threshold where the modulus does not. What is not a number is kept.
    positions = positions_of((size <= threshold.square()).logical_not_().view(-1))
    u, t = (each.view(-1).index_select(0, positions) for each in (codes, threshold))
    if penalty == "modulus":
        return CompactCodes(positions=positions, values=u - u * (t / u.abs()), before=u)
    parts, t = torch.view_as_real(u).view(-1), t.repeat_interleave(2)
    kept = positions_of((parts.abs() <= t).logical_not_())
    parts, t = parts.index_select(0, kept), t.index_select(0, kept)
    positions = 2 * positions.index_select(0, kept // 2) + kept % 2
    sign = parts.sign()
    return CompactCodes(positions=positions, values=parts - t * sign, before=sign)


def positions_of(mask: torch.Tensor) -> torch.Tensor:
    """Return where a mask `(n,)` is true, int64; on a CPU by numpy, which is several times faster.

    Parameters
    ----------
    mask
        bool `(n,)`.

    Returns
    -------
        Ascending positions.
    """
    if mask.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return mask.nonzero().squeeze(1)


def shrink_backward(
    before: torch.Tensor, gradient: torch.Tensor, threshold: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""Apply the transposed derivative of the shrinkage at the codes that are left.

    For the modulus, with ``e = u / |u|``, ``s = u - t e`` has
    ``ds = (1 - t/|u|) du + (t/|u|) e Re(conj(e) du) - e dt``, symmetric in ``du``; for the
    components ``ds = du - sign(u) dt``.

    Parameters
    ----------
    before
        As in `CompactCodes`.
    gradient
        Gradient with respect to the codes there.
    threshold
        Thresholds there; None for the components, which do not need them.

    Returns
    -------
        Gradients with respect to what was shrunk, and to the threshold, there.
    """
    if threshold is None:
        return gradient, -before * gradient
    size = before.abs()
    direction = before / size
    along = (direction.conj() * gradient).real
    ratio = threshold / size
    return gradient + ratio * (direction * along - gradient), -along


def add_compact(dense: torch.Tensor, codes: CompactCodes, factor: float, penalty: Penalty) -> None:
    """Add a multiple of compact codes to a chunk in place.

    Parameters
    ----------
    dense
        Complex `(k, planes, y, x)`, contiguous.
    codes
        Codes of this chunk.
    factor
        Multiple.
    penalty
        Kind of the lanes.
    """
    lanes(dense, penalty).scatter_add_(0, codes.positions, codes.values * factor)


def transform_compact(
    codes: CompactCodes, filters: torch.Tensor, scratch: torch.Tensor, penalty: Penalty
) -> torch.Tensor:
    """Return the unnormalised spectrum that the codes of a chunk contribute to the image.

    Parameters
    ----------
    codes
        Codes of this chunk.
    filters
        Spectra of its filters `(k, 1, y, x)`.
    scratch
        Complex `(k, planes, y, x)`, contiguous; overwritten.
    penalty
        Kind of the lanes.

    Returns
    -------
        `(planes, y, x)`, complex.
    """
    lanes(scratch.zero_(), penalty).scatter_(0, codes.positions, codes.values)
    total: torch.Tensor = torch.fft.fft2(scratch).mul_(filters).sum(dim=0)
    return total


def pack(codes: CompactCodes, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what the backward pass needs of compact codes in few bytes.

    Parameters
    ----------
    codes
        Codes of a chunk.
    size
        Lanes of the chunk.

    Returns
    -------
        Positions as int32, or as one byte for each lane where more than a quarter of them is
        taken; and `before`, a sign in one byte.
    """
    before = codes.before if codes.before.is_complex() else codes.before.to(torch.int8)
    if codes.positions.numel() <= _DENSE * size:
        return codes.positions.to(torch.int32), before
    mask = torch.zeros(size, dtype=torch.bool, device=codes.positions.device)
    return mask.index_fill_(0, codes.positions, value=True), before


def unpack_positions(packed: torch.Tensor) -> torch.Tensor:
    """Return the positions that `pack` wrote.

    Parameters
    ----------
    packed
        First result of `pack`.

    Returns
    -------
        int64 `(n,)`.
    """
    return positions_of(packed) if packed.dtype == torch.bool else packed.long()
