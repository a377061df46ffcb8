"""What the file names of published dictionaries say of how these were learnt."""

from __future__ import annotations

import re
from typing import Any

_PUBLISHED = {"weight": (0.1, 0.5, 2.0, 4.0), "beta": (0.1, 0.25, 0.5)}

_WITHOUT_POINTS = re.compile(
    r"(?P<n_kernels>\d{1,6})_(?P<ky>\d{1,4})x(?P<kx>\d{1,4})_lam(?P<weight>\d{1,8})"
    r"_lhp(?P<beta>\d{1,8})"
)
_WITH_UNDERSCORES = re.compile(
    r"K(?P<n_kernels>\d{1,6})_k(?P<ky>\d{1,4})x(?P<kx>\d{1,4})"
    r"_sparsity_param(?P<weight>\d{1,8}(_\d{1,8})?)_lowpass_param(?P<beta>\d{1,8}(_\d{1,8})?)"
)


def facts_from_name(stem: str) -> dict[str, Any]:
    """Read what a file name says in one of the two published patterns.

    `32_11x11_lam01_lhp025` leaves the decimal points out; of its numbers those of the published
    grid are recognised, others count as below 1 when they begin with 0.
    `K32_k11x11_sparsity_param0_1_lowpass_param0_2` writes them as underscores.

    Parameters
    ----------
    stem
        File name without folder and ending.

    Returns
    -------
        `n_kernels`, `kernel_size`, `weight` λ and `beta`; empty for other names.

    Examples
    --------
    >>> facts_from_name("32_11x11_lam05_lhp025")
    {'n_kernels': 32, 'kernel_size': [11, 11], 'weight': 0.5, 'beta': 0.25}
    >>> facts_from_name("K128_k9x9_sparsity_param4_0_lowpass_param0_1")["weight"]
    4.0
    >>> facts_from_name("mine")
    {}
    """
    if found := _WITHOUT_POINTS.fullmatch(stem):
        values = {key: _without_point(key, found[key]) for key in _PUBLISHED}
    elif found := _WITH_UNDERSCORES.fullmatch(stem):
        values = {key: float(found[key].replace("_", ".")) for key in _PUBLISHED}
    else:
        return {}
    size = [int(found["ky"]), int(found["kx"])]
    return {"n_kernels": int(found["n_kernels"]), "kernel_size": size, **values}


def _without_point(key: str, digits: str) -> float:
    for value in _PUBLISHED[key]:
        if digits in (f"{value:g}".replace(".", ""), f"{value:.1f}".replace(".", "")):
            return value
    return float(f"0.{digits[1:]}") if digits.startswith("0") else float(digits)
