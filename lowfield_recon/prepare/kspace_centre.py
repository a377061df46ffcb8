"""Where the centre of k-space lies in the data, and moving it to index n // 2.

References
----------
Lyu M et al. M4Raw: a multi-contrast, multi-repetition, multi-channel MRI k-space dataset for
low-field MRI research. Sci Data 2023;10:264. https://doi.org/10.1038/s41597-023-02181-4 (data whose
centre is some samples off, for which this check is made).
Jain J, Jain A. Displacement measurement and its application in interframe image coding. IEEE Trans
Commun 1981;29:1799-1808. https://doi.org/10.1109/TCOM.1981.1094950
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn.functional import avg_pool3d

from lowfield_recon.errors import DataError

_BLOCK = 5
_HALF_WIDTH = 8
_NOTEWORTHY = 1.0

Offset = tuple[float | None, float | None, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class KSpaceCentre:
    """Distance of the largest energy from index n // 2.

    Examples
    --------
    >>> KSpaceCentre(offset=(None, 0.2, 7.8)).shift
    (0, 0, -8)
    """

    offset: Offset
    """Along (k2, k1, k0) [samples]; None where the neighbours of the maximum were not acquired."""

    @property
    def is_off(self) -> bool:
        """Whether the centre is off by a sample or more along an axis."""
        return any(abs(value or 0.0) >= _NOTEWORTHY for value in self.offset)

    @property
    def shift(self) -> tuple[int, int, int]:
        """Whole samples along (k2, k1, k0) by which to move the data; 0 where not known."""
        k2, k1, k0 = (-round(value or 0.0) for value in self.offset)
        return k2, k1, k0


def kspace_centre(kspace: torch.Tensor, mask: torch.Tensor | None = None) -> KSpaceCentre:
    r"""Find the centre of k-space to a fraction of a sample.

    First the block of 5 samples along each axis with the largest sum of magnitudes, in which a
    single spike counts little. Around its middle p, in a block B of at most 17 samples,
    ``p + n / (2 pi) arg sum_{k in B} |K(k)|^2 exp(2 pi i (k - p) / n)``, which is the mean phase
    slope of the image of that block in units of samples.

    A smooth object phase with a slope moves the centre, too; the two cannot be told apart.

    Parameters
    ----------
    kspace
        Complex, `(*other, coils, k2, k1, k0)`, zero where nothing was acquired.
    mask
        Acquired samples, bool, broadcastable to `kspace`; None takes the samples that are not zero.

    Returns
    -------
        Offset from index n // 2; 0 along axes of one sample.

    Raises
    ------
    DataError
        If no sample differs from zero.

    Examples
    --------
    >>> kspace = torch.zeros(1, 1, 1, 32, 32, dtype=torch.complex64)
    >>> kspace[..., 15:18, 19:22] = 1
    >>> [round(value, 3) for value in kspace_centre(kspace, torch.ones(1)).offset]
    [0.0, 0.0, 4.0]

    References
    ----------
    The phase slope as a measure of displacement: https://doi.org/10.1109/TCOM.1981.1094950
    """
    energy = kspace.abs().square().reshape(-1, *kspace.shape[-3:]).sum(dim=0).double()
    if not bool((energy > 0).any()):
        raise DataError("kspace: no sample differs from zero; there is no centre to find.")
    if mask is None:
        acquired = energy > 0
    else:
        acquired = mask.bool().expand(kspace.shape).reshape(-1, *energy.shape).all(dim=0)
    sizes = tuple(energy.shape)
    peak = _peak(energy, acquired)
    reach = [_reach(acquired, peak, axis) for axis in range(3)]
    block = energy
    for axis, (p, h) in enumerate(zip(peak, reach, strict=True)):
        indices = torch.arange(p - h, p + h + 1) % sizes[axis]
        block = block.index_select(axis, indices.to(energy.device))
    offsets: list[float | None] = []
    for axis, (n, p, h) in enumerate(zip(sizes, peak, reach, strict=True)):
        along = block.sum(dim=[d for d in range(3) if d != axis])
        turns = 2 * math.pi / n * torch.arange(-h, h + 1, dtype=torch.float64, device=along.device)
        moment = (along * torch.polar(torch.ones_like(turns), turns)).sum()
        fraction = float(moment.angle()) * n / (2 * math.pi)
        offsets.append(None if h == 0 and n > 1 else p - n // 2 + fraction)
    return KSpaceCentre(offset=(offsets[0], offsets[1], offsets[2]))


def recentred(x: torch.Tensor, shift: tuple[int, int, int]) -> torch.Tensor:
    """Move k-space or a mask by whole samples; what leaves on one side enters on the other.

    ``F^H`` of the result is the image times a linear phase: magnitudes of a complete scan stay.

    Parameters
    ----------
    x
        k-space or mask, `(..., k2, k1, k0)`; axes of length 1 stay.
    shift
        Samples along (k2, k1, k0).

    Returns
    -------
        A tensor of the same shape.

    Examples
    --------
    >>> recentred(torch.arange(5).reshape(1, 1, 5), (0, 0, -1)).flatten()
    tensor([1, 2, 3, 4, 0])
    """
    return torch.roll(x, shift, (-3, -2, -1))


def _peak(energy: torch.Tensor, acquired: torch.Tensor) -> tuple[int, int, int]:
    """Return the acquired sample nearest to the middle of the block of largest magnitudes."""
    width = [min(_BLOCK, n - 1 + n % 2) for n in energy.shape]
    half = [w // 2 for w in width]
    padded = torch.nn.functional.pad(
        energy.sqrt()[None, None],
        (half[2], half[2], half[1], half[1], half[0], half[0]),
        mode="circular",
    )
    index = int(avg_pool3d(padded, width, stride=1).argmax())
    _, k1, k0 = energy.shape
    middle = (index // (k1 * k0), index // k0 % k1, index % k0)
    if bool(acquired[middle]):
        return middle
    where = (acquired & (energy > 0)).nonzero()
    distance = (where - torch.tensor(middle, device=where.device)).square().sum(dim=1)
    z, y, x = where[distance.argmin()].tolist()
    return z, y, x


def _reach(acquired: torch.Tensor, peak: tuple[int, int, int], axis: int) -> int:
    """Return how many neighbours on both sides of the peak were acquired along an axis."""
    n = acquired.shape[axis]
    line = acquired.movedim(axis, -1)[tuple(p for d, p in enumerate(peak) if d != axis)]
    largest = min(_HALF_WIDTH, (n - 1) // 2)
    for h in range(1, largest + 1):
        if not (bool(line[(peak[axis] - h) % n]) and bool(line[(peak[axis] + h) % n])):
            return h - 1
    return largest
