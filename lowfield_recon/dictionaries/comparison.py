"""How two dictionaries differ, and how coherent one is in itself."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lowfield_recon.dictionaries.record import Dictionary
from lowfield_recon.solvers.convolutional_model import filter_spectra

_COPY = 0.95
_N_NOISE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class DictionaryComparison:
    """Similarity of the atoms of two dictionaries, whatever their shift and sign."""

    mean_best_match: float
    """Mean over the atoms of the first of the largest ``|<d, shifted e>|`` with the second."""

    worst_best_match: float
    """Smallest of these."""

    mean_best_match_back: float
    """The mean for the atoms of the second in the first."""

    n_copies: tuple[int, int]
    """Number of atoms of each that have a match of at least 0.95 in the other."""

    chance: float
    """The mean that kernels of white noise, of the first's size, have in the second."""

    coherence: tuple[float, float]
    """Largest ``|<d, shifted d'>|`` of different atoms within each."""

    lipschitz: tuple[float, float]
    """``max_w sum_k |d_k(w)|^2`` of each, on a grid that holds both."""


def compare_dictionaries(first: Dictionary, second: Dictionary) -> DictionaryComparison:
    r"""Compare two dictionaries atom by atom.

    ``match(d) = max_{e, t} |sum_x d(x) e(x + t)|``: 1 where an atom of the other is a shifted copy,
    up to the sign.

    Parameters
    ----------
    first, second
        The dictionaries; numbers and sizes of kernels may differ.

    Returns
    -------
        The comparison.

    Examples
    --------
    >>> from lowfield_recon.dictionaries import load_dictionary
    >>> d = load_dictionary("cosine_k7_K48")
    >>> round(compare_dictionaries(d, d).mean_best_match, 4)
    1.0
    """
    size = tuple(a + b - 1 for a, b in zip(first.kernel_size, second.kernel_size, strict=True))
    # A grid on which no two kernels of either dictionary wrap onto each other.
    n = 2 * max(*size, *first.kernel_size, *second.kernel_size)
    a = filter_spectra(first.kernels.double(), (n, n))
    b = filter_spectra(second.kernels.double(), (n, n))
    matches = _matches(a.values, b.values)
    there, back = matches.amax(dim=1), matches.amax(dim=0)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(_N_NOISE, *first.kernel_size, generator=generator, dtype=torch.float64)
    noise /= noise.flatten(1).norm(dim=1)[:, None, None]
    by_chance = _matches(filter_spectra(noise, (n, n)).values, b.values).amax(dim=1)
    return DictionaryComparison(
        mean_best_match=float(there.mean()),
        worst_best_match=float(there.min()),
        mean_best_match_back=float(back.mean()),
        n_copies=(int((there >= _COPY).sum()), int((back >= _COPY).sum())),
        chance=float(by_chance.mean()),
        coherence=(_coherence(a.values), _coherence(b.values)),
        lipschitz=(float(a.power.max()), float(b.power.max())),
    )


def _matches(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the largest correlation over all shifts, `(K of a, K of b)`."""
    rows = [
        torch.fft.ifft2(spectrum.conj() * b[:, 0]).real.abs().amax(dim=(-2, -1))
        for spectrum in a[:, 0]
    ]
    return torch.stack(rows)


def _coherence(values: torch.Tensor) -> float:
    matches = _matches(values, values).fill_diagonal_(0)
    return float(matches.max())
