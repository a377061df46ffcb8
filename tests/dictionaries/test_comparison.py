"""Comparison of dictionaries against copies that were shifted, turned round and cut."""

from __future__ import annotations

import pytest
import torch

from lowfield_recon.dictionaries import Dictionary, load_dictionary
from lowfield_recon.dictionaries.comparison import compare_dictionaries


def _unit(kernels: torch.Tensor) -> torch.Tensor:
    return kernels / kernels.flatten(1).norm(dim=1)[:, None, None]


def test_shifted_and_negated_atoms_match_fully():
    kernels = torch.zeros(5, 9, 9)
    kernels[:, 3:6, 3:6] = torch.randn(5, 3, 3, generator=torch.Generator().manual_seed(0))
    a = Dictionary(kernels=_unit(kernels))
    b = Dictionary(kernels=-_unit(kernels.roll((2, -3), (-2, -1))).flip(0))
    found = compare_dictionaries(a, b)
    assert found.worst_best_match == pytest.approx(1.0, abs=1e-6)
    assert found.n_copies == (5, 5)
    assert found.mean_best_match_back == pytest.approx(1.0, abs=1e-6)
    assert found.lipschitz[0] == pytest.approx(found.lipschitz[1], rel=1e-6)


def test_sizes_may_differ_and_correlations_are_those_of_numpy():
    import numpy as np
    from scipy import signal

    a, b = load_dictionary("cosine_k7_K48"), load_dictionary("cosine_k11_K64")
    found = compare_dictionaries(a, b)
    best = [
        max(np.abs(signal.correlate2d(e.numpy(), d.numpy(), mode="full")).max() for e in b.kernels)
        for d in a.kernels[:6]
    ]
    alone = compare_dictionaries(Dictionary(kernels=a.kernels[:6]), b)
    assert alone.mean_best_match == pytest.approx(float(np.mean(best)), abs=1e-5)
    assert 0 < found.worst_best_match < found.mean_best_match < 1
    assert 0 < found.coherence[0] < 1


def test_chance_is_what_noise_reaches_and_copies_are_counted_both_ways():
    d = load_dictionary("cosine_k7_K48")
    part = Dictionary(kernels=d.kernels[:10])
    found = compare_dictionaries(part, d)
    assert found.n_copies == (10, 10)
    assert found.mean_best_match == pytest.approx(1.0, abs=1e-5)
    assert found.mean_best_match_back < 1
    noise = torch.randn(200, 7, 7, generator=torch.Generator().manual_seed(5))
    noisy = compare_dictionaries(Dictionary(kernels=_unit(noise)), d)
    assert noisy.chance == pytest.approx(noisy.mean_best_match, abs=0.02)
    assert noisy.n_copies == (0, 0)
