"""Dictionaries that know nothing of images, by name."""

from __future__ import annotations

import pytest
import torch

from lowfield_recon.dictionaries import load_dictionary
from lowfield_recon.errors import UsageError


def test_the_identity_is_one_pixel() -> None:
    dictionary = load_dictionary("control_identity")
    assert dictionary.kernels.tolist() == [[[1.0]]]


def test_random_kernels_depend_on_the_name_only() -> None:
    first, again = (load_dictionary("control_random_K6_k7") for _ in range(2))
    other = load_dictionary("control_random_K6_k7_seed1")
    assert first.kernels.shape == (6, 7, 7)
    assert torch.allclose(first.kernels.flatten(1).norm(dim=1), torch.ones(6))
    assert torch.equal(first.kernels, again.kernels)
    assert not torch.equal(first.kernels, other.kernels)


def test_shuffled_kernels_hold_the_same_pixels_in_another_order() -> None:
    model = load_dictionary("cosine_k7_K48").kernels.flatten(1)
    shuffled = load_dictionary("control_shuffled_cosine_k7_K48_seed2").kernels.flatten(1)
    assert torch.equal(shuffled.sort(dim=1).values, model.sort(dim=1).values)
    assert not torch.equal(shuffled, model)


@pytest.mark.parametrize(
    "name", ["control_random_K6_k8", "control_random", "control_random_K0_k7", "control_nothing"]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="expected control_identity, control_random_K32_k9"):
        load_dictionary(name)


def test_a_shuffled_dictionary_that_does_not_ship_is_refused() -> None:
    with pytest.raises(UsageError, match="cosine_k7_K48"):
        load_dictionary("control_shuffled_cosine_k7_K49")
