"""The record of the patch regulariser."""

from __future__ import annotations

import torch


def test_the_dictionary_is_basis_times_factors(small_prior):
    prior = small_prior()
    expected = torch.einsum("ryx,rk->kyx", prior.basis, prior.factors)
    assert torch.allclose(prior.dictionary, expected, rtol=0, atol=1e-15)


def test_another_precision_changes_all_tensors_and_nothing_else(small_prior):
    prior = small_prior("group")
    single = prior.to(torch.float32)
    for name in ("basis", "factors", "scales"):
        assert torch.equal(getattr(single, name), getattr(prior, name).float())
    assert (single.beta, single.potential) == (prior.beta, prior.potential)
