"""What can be said of a dictionary from its kernels alone, for the record beside them."""

from __future__ import annotations

from typing import Any

import torch

from lowfield_recon.dictionaries.record import Dictionary
from lowfield_recon.solvers.convolutional_model import filter_spectra

TRAINING_INPUT = "magnitudes; real images as they are"
"""How images become the real ones that dictionaries are learnt from."""

_GRID = 320
_WINDOW = 160


def derived_facts(dictionary: Dictionary) -> dict[str, Any]:
    r"""Return constants of a dictionary on the published grid of 320×320 pixels.

    ``L = max_w sum_k |d_k(w)|^2`` and, for the window m of the 160×160 lowest frequencies,
    ``g_k = (1/N sum_w m(w) |d_k(w)|^2)^(1/2)``, so that noise of standard deviation sigma
    in k-space has sigma g_k in ``(D^H A^H y)_k``.

    Parameters
    ----------
    dictionary
        The dictionary.

    Returns
    -------
        `lipschitz_320` and `noise_gain_160_of_320`, one number for each kernel.

    Examples
    --------
    >>> point = torch.zeros(1, 3, 3)
    >>> point[0, 1, 1] = 1
    >>> derived_facts(Dictionary(kernels=point))
    {'lipschitz_320': 1.0, 'noise_gain_160_of_320': [0.5]}
    """
    low = torch.fft.ifftshift(
        torch.nn.functional.pad(torch.ones(_WINDOW, _WINDOW), [(_GRID - _WINDOW) // 2] * 4)
    )
    power = torch.zeros(_GRID, _GRID, dtype=torch.float64)
    gains = []
    # One kernel at a time: the spectra of 128 of them together are 200 MB.
    for kernel in dictionary.kernels.detach().cpu().double():
        one = filter_spectra(kernel[None], (_GRID, _GRID)).power
        power += one
        gains.append(float((low * one).mean().sqrt()))
    return {
        "lipschitz_320": float(f"{float(power.max()):.9g}"),
        "noise_gain_160_of_320": [float(f"{gain:.5g}") for gain in gains],
    }
