"""Held-out samples: which they are, and that the fit does not see them."""

from __future__ import annotations

import pytest
import torch

from lowfield_recon.learning.untrained.holdout import Split, hold_out
from lowfield_recon.operators import (
    blur_operator,
    identity_operator,
    kspace_operator,
    mask_operator,
)
from lowfield_recon.operators.capabilities import capabilities
from lowfield_recon.operators.cartesian import CartesianOp
from lowfield_recon.operators.image import MaskOp
from lowfield_recon.problem import InverseProblem

LINES = torch.rand(1, 1, 1, 48, 1, generator=torch.Generator().manual_seed(0)) < 0.4
LINES[..., 20:28, :] = True


def _random(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def _scan(mask: torch.Tensor | None = LINES, coils: int = 3) -> InverseProblem:
    maps = _random(1, coils, 1, 48, 40, dtype=torch.complex64, seed=1)
    A = kspace_operator(mask=mask, coil_maps=maps)
    (y,) = A(_random(1, 1, 1, 48, 40, dtype=torch.complex64, seed=2))
    return InverseProblem(data=y, operator=A)


def _inpainting(image: torch.Tensor | None = None) -> InverseProblem:
    x = torch.rand(1, 3, 1, 20, 20) + 0.1 if image is None else image
    A = mask_operator(torch.rand(x.shape, generator=torch.Generator().manual_seed(3)) < 0.4)
    return InverseProblem(data=A(x)[0], operator=A, image_domain="real", noise_std=0.1)


def _parts(problem: InverseProblem, fraction: float = 0.1, seed: int = 0) -> Split:
    split = hold_out(problem, fraction, seed=seed)
    assert split is not None
    return split


def _held(problem: InverseProblem, split: Split) -> torch.Tensor:
    """Samples that the fit lost."""
    return (problem.data != 0) & (split.problem.data == 0)


@pytest.mark.parametrize("make", [_scan, _inpainting])
def test_a_sample_is_either_fitted_or_held_out(make) -> None:
    problem = make()
    split = _parts(problem)
    held = _held(problem, split)
    assert bool(held.any())
    assert torch.equal(split.problem.data, torch.where(held, 0, problem.data))
    x = _random(*problem.shape, dtype=problem.image_dtype, seed=4)
    (all_of_it,), (fitted,) = problem.operator(x), split.problem.operator(x)
    assert torch.allclose(fitted, torch.where(held, 0, all_of_it), atol=1e-5)


@pytest.mark.parametrize("make", [_scan, _inpainting])
def test_the_error_is_the_squared_misfit_of_the_held_out_samples(make) -> None:
    problem = make()
    split = _parts(problem)
    x = _random(*problem.shape, dtype=problem.image_dtype, seed=4)
    residual = (problem.operator(x)[0] - problem.data)[_held(problem, split)]
    assert split.error(x) == pytest.approx(float((residual.abs() ** 2).sum()), rel=1e-5)


def test_the_fit_cannot_tell_what_was_held_out() -> None:
    problem = _scan()
    split = _parts(problem)
    held = _held(problem, split)
    other = InverseProblem(
        data=torch.where(held, 7 * problem.data, problem.data), operator=problem.operator
    )
    again = _parts(other)
    assert torch.equal(again.problem.data, split.problem.data)
    assert again.error(torch.zeros(problem.shape)) > 10 * split.error(torch.zeros(problem.shape))


def test_of_lines_whole_lines_are_taken_outside_the_centre() -> None:
    problem = _scan()
    split = _parts(problem, 0.3)
    held = _held(problem, split)
    lines = held.any(dim=-1)
    assert split.unit == "lines"
    assert torch.equal(lines, held.all(dim=-1))
    assert torch.equal(lines, lines[:, :1].expand_as(lines))
    assert split.n_held_out == int(lines[:, 0].sum())
    places = lines[0, 0, 0].nonzero().flatten()
    assert bool(((places - 24).abs() > 0.04 * 48).all())
    candidates = int((LINES.flatten() & ((torch.arange(48) - 24).abs() > 0.04 * 48)).sum())
    assert split.n_held_out == round(0.3 * candidates)


def test_at_least_two_lines_are_taken() -> None:
    assert _parts(_scan(), 0.001).n_held_out == 2


def test_of_scattered_k_space_single_samples_are_taken_outside_the_centre() -> None:
    mask = torch.rand(1, 1, 1, 48, 40, generator=torch.Generator().manual_seed(5)) < 0.5
    problem = _scan(mask)
    split = _parts(problem, 0.2)
    held = _held(problem, split)
    assert split.unit == "samples"
    assert torch.equal(held, held[:, :1].expand_as(held))
    places = held[0, 0, 0].nonzero()
    assert split.n_held_out == len(places)
    offset = (places - torch.tensor([24, 20])).abs() / torch.tensor([48, 40])
    assert bool((offset > 0.04).any(dim=1).all())
    assert len(places) == pytest.approx(0.2 * int(mask.sum()), rel=0.02)


def test_a_fully_sampled_scan_gives_up_single_samples() -> None:
    split = _parts(_scan(None))
    assert split.unit == "samples"
    assert isinstance(split.problem.operator, CartesianOp)


def test_zeros_that_were_observed_count_as_samples() -> None:
    image = torch.zeros(1, 1, 1, 20, 20)
    image[..., 10:] = 0.5
    problem = _inpainting(image)
    split = _parts(problem, 0.4)
    assert isinstance(problem.operator, MaskOp)
    assert isinstance(split.problem.operator, MaskOp)
    lost = problem.operator.mask & ~split.problem.operator.mask
    assert split.n_held_out == int(lost.sum()) == round(0.4 * int(problem.operator.mask.sum()))
    dark = lost & (image == 0)
    assert float(dark.sum() / lost.sum()) == pytest.approx(0.5, abs=0.15)


def test_values_outside_the_mask_of_k_space_change_nothing() -> None:
    problem = _scan()
    noise = 50 * _random(*problem.data.shape, dtype=torch.complex64, seed=9)
    dirty = InverseProblem(data=torch.where(LINES, problem.data, noise), operator=problem.operator)
    clean, other = _parts(problem), _parts(dirty)
    assert (other.unit, other.n_held_out) == (clean.unit, clean.n_held_out)
    x = _random(*problem.shape, dtype=torch.complex64, seed=4)
    assert other.error(x) == clean.error(x)
    assert torch.equal(*(s.problem.operator.adjoint(s.problem.data)[0] for s in (clean, other)))


def test_the_choice_follows_the_seed() -> None:
    problem = _inpainting()
    first, same, other = (_parts(problem, seed=s).problem.data for s in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("operator", "kind"),
    [(identity_operator(), MaskOp), (mask_operator(torch.ones(1, 1, 1, 12, 12)), MaskOp)],
)
def test_pixels_stay_diagonal_in_image_space(operator, kind) -> None:
    data = torch.rand(1, 1, 1, 12, 12) + 0.1
    split = _parts(InverseProblem(data=data, operator=operator, image_domain="real"))
    assert isinstance(split.problem.operator, kind)
    assert capabilities(split.problem.operator).gram_image is not None


def test_behind_any_other_operator_stands_a_mask() -> None:
    A = blur_operator(torch.full((3, 3), 1 / 9), image_shape=(12, 12))
    data = torch.rand(1, 1, 1, 12, 12) + 0.1
    problem = InverseProblem(data=data, operator=A, image_domain="real")
    split = _parts(problem)
    assert split.problem.shape == problem.shape
    x = _random(1, 1, 1, 12, 12)
    expected = torch.where(_held(problem, split), 0, A(x)[0])
    assert torch.allclose(split.problem.operator(x)[0], expected)


def test_noise_level_stays_and_the_reference_goes() -> None:
    problem = InverseProblem(
        data=torch.rand(1, 1, 1, 12, 12) + 0.1, operator=identity_operator(),
        image_domain="real", noise_std=0.3, reference=torch.ones(1, 1, 1, 12, 12),
    )  # fmt: skip
    split = _parts(problem)
    assert split.problem.noise_std == 0.3
    assert split.problem.image_domain == "real"
    assert split.problem.reference is None


def test_a_single_sample_is_not_parted() -> None:
    mask = torch.zeros(1, 1, 1, 6, 6)
    mask[..., 2, 3] = 1
    data = mask * 0.5
    problem = InverseProblem(data=data, operator=mask_operator(mask), image_domain="real")
    assert hold_out(problem, 0.1, seed=0) is None


def test_a_scan_of_the_centre_alone_is_not_parted() -> None:
    mask = torch.zeros(1, 1, 1, 48, 1)
    mask[..., 23:26, :] = 1
    assert hold_out(_scan(mask), 0.1, seed=0) is None
