"""Orthogonal wavelet filters of Daubechies, computed by spectral factorisation."""

from __future__ import annotations

import itertools
from functools import cache
from math import comb

import numpy as np
import numpy.typing as npt

from lowfield_recon.errors import UsageError, nearest_name

WAVELETS = ("haar", *(f"db{n}" for n in range(1, 11)), *(f"sym{n}" for n in range(2, 6)))
"""Names of the wavelets: Haar, Daubechies with the least and with the most symmetric phase."""


@cache
def scaling_filter(name: str) -> tuple[float, ...]:
    r"""Return the low-pass filter h of an orthogonal wavelet, with ``sum h = sqrt 2``.

    Orthogonal means ``sum_k h[k] h[k + 2m] = delta_m``. Daubechies' filter with N vanishing moments
    is ``sqrt 2 ((1 + z) / 2)^N q(z)`` where ``|q|^2 = P(y) = sum_k C(N-1+k, k) y^k`` with ``y =
    sin^2(w/2)``. `dbN` takes the roots inside the unit circle, `symN` the choice of root pairs with
    the phase nearest to a linear one.

    Parameters
    ----------
    name
        One of `WAVELETS`.

    Returns
    -------
        The 2 N filter taps.

    Raises
    ------
    UsageError
        If there is no wavelet of that name.

    References
    ----------
    Daubechies I. Comm Pure Appl Math 1988;41:909-996. https://doi.org/10.1002/cpa.3160410705

    Examples
    --------
    >>> [round(h, 4) for h in scaling_filter("haar")]
    [0.7071, 0.7071]
    """
    if name not in WAVELETS:
        raise UsageError(f"wavelet: '{name}' is not known. {nearest_name(name, WAVELETS)}")
    order = 1 if name == "haar" else int(name.lstrip("dbsym"))
    candidates = [_filter(order, roots) for roots in _root_choices(order, name.startswith("sym"))]
    best = min(candidates, key=_phase_nonlinearity) if len(candidates) > 1 else candidates[0]
    return tuple(float(h) for h in best)


def _root_choices(order: int, symmetric: bool) -> list[list[complex]]:
    """Return the sets of roots of q: one of each reciprocal pair."""
    polynomial = [comb(order - 1 + k, k) for k in range(order - 1, -1, -1)]
    groups: list[list[complex]] = []
    for y in np.roots(polynomial):
        if y.imag < -1e-12:  # its conjugate is treated with it
            continue
        # sin^2(w/2) is (2 - z - 1/z) / 4 on the unit circle, which is quadratic in z.
        inside = min(np.roots([1.0, 4 * y - 2, 1.0]), key=abs)
        groups.append([inside] if abs(y.imag) <= 1e-12 else [inside, inside.conjugate()])
    if not symmetric:
        return [[root for group in groups for root in group]]
    return [
        [
            1 / root if flip else root
            for group, flip in zip(groups, flips, strict=True)
            for root in group
        ]
        for flips in itertools.product((False, True), repeat=len(groups))
    ]


def _filter(order: int, roots: list[complex]) -> npt.NDArray[np.float64]:
    taps = np.array([1.0 + 0j])
    for _ in range(order):
        taps = np.convolve(taps, [0.5, 0.5])
    for root in roots:
        taps = np.convolve(taps, np.array([1.0, -root]) / (1 - root))
    scaled: npt.NDArray[np.float64] = np.sqrt(2) * taps.real
    return scaled


def _phase_nonlinearity(taps: npt.NDArray[np.float64]) -> float:
    """Return how far the phase is from a linear one, in the band that the filter passes."""
    omega = np.linspace(0, np.pi / 2, 256)
    response = np.exp(-1j * np.outer(omega, np.arange(len(taps)))) @ taps
    phase = np.unwrap(np.angle(response))
    slope = (omega @ phase) / (omega @ omega)
    return float(np.sum((phase - slope * omega) ** 2))
