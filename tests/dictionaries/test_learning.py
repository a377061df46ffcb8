"""Dictionary learning: exact statistics, falling objective, kernels found again."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from lowfield_recon.dictionaries.learning import LearningOptions, learn_dictionary
from lowfield_recon.dictionaries.statistics import code_statistics, updated_kernels
from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.solvers.convolutional_model import filter_spectra, synthesise

OPTIONS = LearningOptions(n_kernels=6, kernel_size=5, weight=0.4, beta=0.5, passes=3)


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _unit(kernels: torch.Tensor) -> torch.Tensor:
    return kernels / kernels.flatten(1).norm(dim=1)[:, None, None]


def _complex(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.complex(_random(*shape, seed=seed), _random(*shape, seed=seed + 100))


def _images(n: int = 4, size: int = 48) -> list[torch.Tensor]:
    y, x = torch.meshgrid(torch.arange(size) * 1.0, torch.arange(size) * 1.0, indexing="ij")
    return [
        ((torch.sin(0.3 * (i + 2) * y + i) * torch.cos(0.25 * x * (i + 1)) > 0.2).float() + 0.1)
        for i in range(n)
    ]


@pytest.mark.parametrize("size", [(14, 17), (9, 9)])
def test_the_statistics_are_the_misfit_of_any_kernels(size):
    s, x = _complex(3, *size), _complex(*size, seed=7)
    found = code_statistics(s, x, (5, 5))
    for seed in range(3):
        d = _random(3, 5, 5, seed=seed)
        rest = x - synthesise(filter_spectra(d, size), s[:, None])[0]
        expected = 0.5 * float(rest.abs().square().sum())
        assert found.misfit(d) == pytest.approx(expected, rel=1e-10)
    assert torch.allclose(found.usage(), s.abs().square().sum(dim=(1, 2)))


def test_the_update_is_the_constrained_optimum():
    size = (20, 20)
    s = _complex(3, *size)
    # Codes that were shrunk want larger kernels, so that all three constraints are active.
    true = filter_spectra(2 * _unit(_random(3, 3, 3, seed=9)), size)
    found = code_statistics(s, synthesise(true, s[:, None])[0] + _complex(*size, seed=3), (3, 3))
    kernels = updated_kernels(found, _unit(_random(3, 3, 3)), iterations=5000)
    best = found.misfit(kernels)
    for seed in range(50):
        near = _unit(kernels + 1e-3 * _random(3, 3, 3, seed=seed))
        assert found.misfit(near) >= best - 1e-9 * abs(best)


def test_an_unused_kernel_stays_as_it_is():
    s = _complex(3, 12, 12)
    s[1] = 0
    start = _unit(_random(3, 3, 3))
    updated = updated_kernels(code_statistics(s, _complex(12, 12, seed=5), (3, 3)), start)
    assert torch.equal(updated[1], start[1])
    assert not torch.allclose(updated[0], start[0])


@pytest.mark.parametrize("method", ["online", "batch"])
def test_the_objective_falls(method):
    options = dataclasses.replace(OPTIONS, method=method, passes=4)
    found = learn_dictionary(_images(), options, initial=_unit(_random(6, 5, 5)))
    n = len(found.objective) // 4
    first, last = sum(found.objective[:n]), sum(found.objective[-n:])
    assert last < 0.9 * first
    norms = found.dictionary.kernels.flatten(1).norm(dim=1)
    assert float((norms - 1).abs().max()) <= 1e-5
    assert bool((found.usage.diff() <= 0).all())


def test_kernels_that_made_the_images_are_found_again():
    true = _unit(torch.randn(3, 5, 5, generator=torch.Generator().manual_seed(11)))
    generator = torch.Generator().manual_seed(1)
    images = []
    for _ in range(6):
        codes = torch.zeros(3, 1, 64, 64, dtype=torch.complex64)
        where = torch.randint(0, codes.numel(), (60,), generator=generator)
        codes.view(-1)[where] = 10 * torch.randn(60, generator=generator) + 0j
        images.append(synthesise(filter_spectra(true, (64, 64)), codes)[0].real)
    # The problem is not convex: from other starts one of the three may be found in part only.
    options = LearningOptions(
        n_kernels=8, kernel_size=7, weight=2.0, beta=1e6, passes=20, coding_iterations=40, seed=2
    )
    kernels = learn_dictionary(images, options).dictionary.kernels
    padded = torch.nn.functional.pad(true, (3, 3, 3, 3))
    for d in padded:
        shifted = torch.stack([d.roll((i, j), (0, 1)) for i in range(-3, 4) for j in range(-3, 4)])
        candidates = torch.nn.functional.pad(kernels, (2, 2, 2, 2)).flatten(1)
        assert float((shifted.flatten(1) @ candidates.T).abs().max()) >= 0.99


def test_a_pair_of_real_images_counts_as_both():
    a, b = _images(2)
    options = dataclasses.replace(OPTIONS, method="batch", passes=1, coding_iterations=200)
    start = _unit(_random(6, 5, 5)).float()
    both = learn_dictionary([a, b], options, initial=start)
    single = [learn_dictionary([image], options, initial=start) for image in (a, b)]
    # An image alone is coded with a zero imaginary part, which doubles the pixels it is shared by.
    assert both.objective[0] == pytest.approx(sum(s.objective[0] for s in single), rel=1e-3)


@pytest.mark.parametrize("better", [{"momentum": 0.7}, {"forgetting": 8.0}])
def test_momentum_and_forgetting_each_reach_a_lower_objective(better):
    plain = dataclasses.replace(OPTIONS, passes=6, forgetting=1.0, momentum=0.0)
    start = _unit(_random(6, 5, 5))

    def last(options):
        return sum(learn_dictionary(_images(8), options, initial=start).objective[-4:])

    assert last(dataclasses.replace(plain, **better)) < 0.995 * last(plain)


def test_kernels_are_handed_over_after_every_update():
    seen = []
    found = learn_dictionary(_images(), OPTIONS, on_update=lambda d: seen.append(d.clone()))
    assert len(seen) == len(found.objective)
    assert {tuple(d.shape) for d in seen} == {(6, 5, 5)}
    # The dictionary has the same kernels in the order of their use.
    assert torch.allclose(seen[-1].sum(0), found.dictionary.kernels.sum(0), atol=1e-6)


def test_the_seed_decides():
    first = learn_dictionary(_images(), OPTIONS).dictionary
    again = learn_dictionary(_images(), OPTIONS).dictionary
    other = learn_dictionary(_images(), dataclasses.replace(OPTIONS, seed=1)).dictionary
    assert first.sha256() == again.sha256() != other.sha256()


def test_zero_mean_kernels_on_request():
    found = learn_dictionary(_images(), dataclasses.replace(OPTIONS, zero_mean=True))
    assert float(found.dictionary.kernels.mean(dim=(1, 2)).abs().max()) <= 1e-6


def test_progress_reports_every_pair():
    calls = []
    learn_dictionary(_images(), OPTIONS, progress=lambda *state: calls.append(state))
    assert [done for done, _, _ in calls] == list(range(1, 7))
    assert {total for _, total, _ in calls} == {6}


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (torch.ones(8, 8), "at least 9x9"),
        (torch.zeros(32, 32), "zero or not finite"),
        (torch.full((32, 32), float("nan")), "zero or not finite"),
        (torch.ones(2, 32, 32), "expected"),
    ],
)
def test_images_that_cannot_be_learnt_from(image, words):
    with pytest.raises(DataError, match=words):
        learn_dictionary([image], OPTIONS)


@pytest.mark.parametrize(
    "change",
    [
        {"kernel_size": 4},
        {"n_kernels": 0},
        {"weight": 0.0},
        {"beta": -1.0},
        {"passes": 0},
        {"momentum": 1.0},
    ],
)
def test_options_that_cannot_be_meant(change):
    with pytest.raises(UsageError):
        dataclasses.replace(OPTIONS, **change)


def test_no_images_and_a_wrong_start():
    with pytest.raises(DataError, match="none"):
        learn_dictionary([], OPTIONS)
    with pytest.raises(UsageError, match="initial"):
        learn_dictionary(_images(), OPTIONS, initial=torch.ones(3, 5, 5))
