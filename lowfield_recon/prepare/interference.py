"""Narrow lines of electromagnetic interference in the spectrum of noise.

References
----------
Srinivas SA et al. External dynamic interference estimation and removal (EDITER) for low field MRI.
Magn Reson Med 2022;87:614-628. https://doi.org/10.1002/mrm.28992
Welch PD. The use of fast Fourier transform for the estimation of power spectra. IEEE Trans Audio
Electroacoust 1967;15:70-73. https://doi.org/10.1109/TAU.1967.1161901
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lowfield_recon.operators.fourier import centred_ifft

_SEGMENT = 128
_NEIGHBOURS = 12
_WIDEST = 5
_OUTER = 0.25
_LEAST_RATIO = 3.0
_DEVIATIONS = 8.0
_DECAY = 0.6
_FEWEST = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectralPeak:
    """A narrow peak in the spectrum of readouts that should be noise."""

    position: float
    """Place along the readout, from its centre over its extent, -0.5 to 0.5; this times the number
    of samples is the column of the image. Minus the frequency in cycles per sample."""

    ratio: float
    """Power over that of the frequencies around."""


def noise_peaks(noise: torch.Tensor) -> tuple[SpectralPeak, ...]:
    r"""Find narrow peaks in the spectrum of noise readouts.

    The mean periodogram of segments of 128 samples, each coil scaled to a median of 1.

    Parameters
    ----------
    noise
        Noise samples, complex, `(coils, samples)`.

    Returns
    -------
        Peaks in order of frequency; empty for white noise, and for too few samples.

    Examples
    --------
    >>> generator = torch.Generator().manual_seed(0)
    >>> noise = torch.randn(1, 8192, dtype=torch.complex64, generator=generator)
    >>> line = torch.polar(torch.ones(8192), 2 * torch.pi * 0.25 * torch.arange(8192))
    >>> noise_peaks(noise), round(noise_peaks(noise + line)[0].position, 2)
    ((), -0.25)

    References
    ----------
    Averaged periodograms: https://doi.org/10.1109/TAU.1967.1161901
    """
    n = noise.shape[-1] // _SEGMENT
    segments = noise[:, : n * _SEGMENT].reshape(noise.shape[0], n, _SEGMENT)
    power = centred_ifft(segments, (-1,)).abs().square()
    return _peaks(power, None) if n >= _FEWEST else ()


def interference_peaks(
    kspace: torch.Tensor, mask: torch.Tensor | None = None
) -> tuple[SpectralPeak, ...]:
    r"""Find narrow columns of interference in the outer lines of k-space.

    Interference of one frequency fills a column of the image along the phase encodings, as strong
    in the outermost lines of k-space as in those half-way out; the object's detail gets weaker.

    Parameters
    ----------
    kspace
        Complex, `(*other, coils, k2, k1, k0)`, with complete readouts.
    mask
        Acquired samples, bool, broadcastable to `kspace`; None takes the lines that are not zero.

    Returns
    -------
        Peaks in order of their place along the readout; empty where readouts are incomplete or
        there are too few lines.

    Examples
    --------
    >>> generator = torch.Generator().manual_seed(0)
    >>> kspace = torch.randn(1, 1, 1, 64, 128, dtype=torch.complex64, generator=generator)
    >>> interference_peaks(kspace)
    ()

    References
    ----------
    Interference at low field: https://doi.org/10.1002/mrm.28992
    """
    *_, k2, k1, k0 = kspace.shape
    lines = kspace.movedim(-4, 0).flatten(1, -4).reshape(kspace.shape[-4], -1, k2, k1, k0)
    acquired = (lines != 0).any(dim=0).any(dim=0)
    if mask is not None:
        acquired &= mask.bool().expand(*mask.shape[:-3], k2, k1, k0).reshape(-1, k2, k1, k0).all(0)
    kept = acquired.float().mean(dim=-1) > 0.99
    if not bool((kept == acquired.any(dim=-1)).all()):
        return ()
    distance = torch.zeros(k2, k1)
    for axis, n in enumerate((k2, k1)):
        if n > 1:
            offset = (torch.arange(n) - n // 2) / (n / 2)
            distance = (
                distance + offset.square().reshape(-1, 1)
                if axis == 0
                else (distance + offset.square())
            )
    order = distance[kept.cpu()].argsort(stable=True)
    chosen = lines[:, :, kept][:, :, order.to(lines.device)].flatten(1, 2)
    n_outer = int(_OUTER * chosen.shape[1])
    if n_outer < _FEWEST:
        return ()
    power = centred_ifft(chosen[:, -2 * n_outer :], (-1,)).abs().square()
    return _peaks(power[:, n_outer:], power[:, :n_outer])


def _peaks(power: torch.Tensor, inner: torch.Tensor | None) -> tuple[SpectralPeak, ...]:
    """Find peaks in the mean of spectra `(coils, lines, n)` that inner lines do not exceed."""
    median = power.flatten(1).median(dim=1).values.clamp(min=torch.finfo(torch.float32).tiny)
    spectrum = (power / median[:, None, None]).mean(dim=(0, 1))
    n, count = len(spectrum), power.shape[0] * power.shape[1]
    if n < 2 * _NEIGHBOURS + 1:
        return ()
    around = _running_median(spectrum)
    ratio = spectrum / around.clamp(min=torch.finfo(torch.float32).tiny)
    is_high = ratio > max(_LEAST_RATIO, 1 + _DEVIATIONS / count**0.5)
    if inner is not None:
        before = (inner / median[:, None, None]).mean(dim=(0, 1))
        is_high &= spectrum - around > _DECAY * (before - _running_median(before))
    found = []
    where = is_high.nonzero().flatten().tolist()
    groups: list[list[int]] = []
    for index in where:
        if groups and index - groups[-1][-1] <= 1:
            groups[-1].append(index)
        else:
            groups.append([index])
    for group in groups:
        if len(group) <= _WIDEST:
            best = max(group, key=lambda index: float(ratio[index]))
            found.append(SpectralPeak(position=(best - n // 2) / n, ratio=float(ratio[best])))
    return tuple(found)


def _running_median(spectrum: torch.Tensor) -> torch.Tensor:
    padded = torch.cat([spectrum[-_NEIGHBOURS:], spectrum, spectrum[:_NEIGHBOURS]])
    return padded.unfold(0, 2 * _NEIGHBOURS + 1, 1).median(dim=1).values
