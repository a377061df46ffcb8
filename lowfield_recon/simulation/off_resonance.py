"""Readouts during which off-resonant spins accrue phase.

References
----------
Sekihara K, Matsui S, Kohno H. NMR imaging for magnets with large nonuniformities. IEEE Trans Med
Imaging 1985;4:193-199. https://doi.org/10.1109/TMI.1985.4307720
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lowfield_recon.errors import UsageError
from lowfield_recon.operators.fourier import centred_fft

_ENTRIES_AT_ONCE = 1 << 22


def encode(
    images: torch.Tensor,
    *,
    phase_dims: Sequence[int],
    off_resonance_hz: torch.Tensor | None = None,
    dwell_time_s: float = 0.0,
) -> torch.Tensor:
    r"""Fourier-encode coil images, with the phase that off-resonance adds during each readout.

    ``y(k, m) = F_k { sum_x u(x) exp(-2 pi i f(x) t_m) exp(-2 pi i (m - c)(x - c) / n) / sqrt(n) }``
    with ``t_m = (m - c) dwell`` and ``c = n // 2``: the echo refocuses at the centre of the readout
    (spin echo). The sum over x is taken as it stands, line by line; F_k is the centred orthonormal
    transform along the phase encodings. A point at x appears at ``x + f n dwell``.

    Parameters
    ----------
    images
        Coil images, complex, `(*other, coils, z, y, x)`.
    phase_dims
        Axes with phase encoding, negative, -1 (the readout) not among them.
    off_resonance_hz
        Frequency f [Hz], float, `(z, y, x)`; None or all zero takes the FFT.
    dwell_time_s
        Time between two samples [s].

    Returns
    -------
        k-space, complex, of the same shape.

    Raises
    ------
    UsageError
        If the map does not have the size of the image.

    Examples
    --------
    >>> point = torch.zeros(1, 1, 1, 1, 8, dtype=torch.complex64)
    >>> point[..., 4] = 1
    >>> f = torch.full((1, 1, 8), 250.0)  # 250 Hz over 8 ms: two pixels
    >>> from lowfield_recon.operators.fourier import centred_ifft
    >>> y = encode(point, phase_dims=(), off_resonance_hz=f, dwell_time_s=1e-3)
    >>> int(centred_ifft(y, (-1,)).abs().argmax())
    6

    References
    ----------
    https://doi.org/10.1109/TMI.1985.4307720
    """
    if off_resonance_hz is None or not bool(off_resonance_hz.any()):
        return centred_fft(images, (*phase_dims, -1))
    shape = tuple(images.shape[-3:])
    if tuple(off_resonance_hz.shape) != shape:
        raise UsageError(
            f"off_resonance_hz: expected the size of the image (z, y, x) = {shape}, got "
            f"{tuple(off_resonance_hz.shape)}."
        )
    n = shape[-1]
    turns = off_resonance_hz.to(images.device).double().reshape(-1, n) * dwell_time_s
    centred = torch.arange(n, dtype=torch.float64, device=images.device) - n // 2
    turns = -turns - centred / n
    lines = images.reshape(-1, turns.shape[0], n)
    encoded = torch.empty_like(lines)
    step = max(_ENTRIES_AT_ONCE // n**2, 1)
    for start in range(0, turns.shape[0], step):
        part = slice(start, start + step)
        # The product is reduced to one turn in double precision, so that long readouts stay exact.
        phase = (centred[:, None] * turns[part, None, :]).frac().mul(2 * torch.pi)
        kernel = torch.polar(torch.full_like(phase, n**-0.5), phase).to(images.dtype)
        encoded[:, part] = torch.einsum("lmx,clx->clm", kernel, lines[:, part])
    return centred_fft(encoded.reshape(images.shape), tuple(phase_dims))
