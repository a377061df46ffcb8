"""Narrow lines of electromagnetic interference along the readout.

References
----------
Srinivas SA et al. External dynamic interference estimation and removal (EDITER) for low field MRI.
Magn Reson Med 2022;87:614-628. https://doi.org/10.1002/mrm.28992
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


def interference(
    shape: Sequence[int],
    *,
    frequencies_hz: Sequence[float],
    amplitude: float | torch.Tensor,
    dwell_time_s: float,
    generator: torch.Generator,
) -> torch.Tensor:
    r"""Return samples of sources that oscillate at fixed frequencies, off the centre frequency.

    ``i_c(m) = sum_f a w_cf g_f exp(-2 pi i f t_m)``, ``t_m = (m - n // 2) dwell``, with the sign of
    spins that precess at f: each readout draws a complex normal g of variance 1 (amplitude and
    phase), and each coil couples with a fixed factor w of modulus 1. After a Fourier transform
    along the readout the energy stands in column ``n // 2 + f n dwell``.

    Parameters
    ----------
    shape
        Shape of k-space `(*other, coils, k2, k1, k0)`.
    frequencies_hz
        Frequencies relative to the centre of the band [Hz].
    amplitude
        Root mean square a of one line in one sample, a number or a tensor that broadcasts to the
        shape.
    dwell_time_s
        Time between two samples [s].
    generator
        Source of random numbers.

    Returns
    -------
        Interference, complex64, of that shape.

    Examples
    --------
    >>> generator = torch.Generator().manual_seed(0)
    >>> i = interference(
    ...     (1, 1, 1, 2, 64),
    ...     frequencies_hz=[1e3],
    ...     amplitude=1.0,
    ...     dwell_time_s=1e-4,
    ...     generator=generator,
    ... )
    >>> i.shape
    torch.Size([1, 1, 1, 2, 64])

    References
    ----------
    https://doi.org/10.1002/mrm.28992
    """
    *other, coils, n_2, n_1, n_0 = shape
    total = torch.zeros(tuple(shape), dtype=torch.complex64)
    times = (torch.arange(n_0, dtype=torch.float64) - n_0 // 2) * dwell_time_s
    for f in frequencies_hz:
        phase = (-f * times).frac().mul(2 * torch.pi)
        wave = torch.polar(torch.ones_like(phase), phase).to(torch.complex64)
        angles = 2 * torch.pi * torch.rand(coils, generator=generator)
        coupling = torch.polar(torch.ones_like(angles), angles)[:, None, None, None]
        draws = torch.randn((*other, 1, n_2, n_1, 1), dtype=torch.complex64, generator=generator)
        total += coupling * draws * wave
    return total * amplitude
