"""Recorded scans made worse: levels of noise, what data and reference share, what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lowfield_recon.errors import DataError
from lowfield_recon.evaluation.shifts import (
    AXES,
    IMAGE_AXES,
    StudyImage,
    assumptions,
    axis_conditions,
    compose,
    make_problem,
    reference_condition,
)
from lowfield_recon.operators.fourier import centred_fft

OWN = 0.05
POSSIBLE = (
    "noise", "window", "window-shape", "acceleration", "mask", "gain", "spikes", "interference",
)  # fmt: skip


def recorded(n: int = 64) -> StudyImage:
    pixels = torch.ones(1, 1, 1, n, n, dtype=torch.complex64)
    return StudyImage(
        name="scan, slice 0", subject="p", domain="0.055 T", pixels=pixels, noise_std=OWN
    )


@pytest.mark.parametrize(("level", "expected"), [(0.2, 0.2), (0.1, 0.1), (0.03, 1.25 * OWN)])
def test_the_noise_is_brought_to_the_level_but_always_some_is_added(level, expected) -> None:
    image = recorded()
    problem = make_problem(image, compose({"noise": level, "window": 1.0}), seed=0)
    assert problem.noise_std == pytest.approx(expected, rel=1e-5)
    own = centred_fft(image.pixels, (-2, -1))
    added = problem.data - own
    wanted = math.sqrt(expected**2 - OWN**2)
    # 4096 samples: the mean square has a relative deviation of 1.6 %
    assert float(added.abs().square().mean()) == pytest.approx(wanted**2, rel=0.08)
    said = " ".join(assumptions(image, compose({"noise": level})))
    assert "noise" in said
    assert (f"in place of {level:g}" in said) == (expected > level)


def test_the_noise_of_the_reference_says_nothing_about_that_of_the_data() -> None:
    """Of a scan that is noise alone, both images are uncorrelated."""
    noise = torch.randn(
        1, 1, 1, 96, 96, dtype=torch.complex64, generator=torch.Generator().manual_seed(1)
    )
    image = StudyImage(name="n", subject="n", domain="n", pixels=noise, noise_std=1.0)
    for level in (1.0, 2.0, 5.0):
        problem = make_problem(image, compose({"noise": level, "window": 1.0}), seed=0)
        data = problem.data.flatten().numpy()
        reference = centred_fft(problem.reference, (-2, -1)).flatten().numpy()
        both = np.linalg.norm(data) * np.linalg.norm(reference)
        assert abs(np.vdot(data, reference)) / both < 4 / 96  # four standard deviations


@pytest.mark.parametrize("name", POSSIBLE)
def test_its_reference_level_changes_no_bit_and_other_levels_do(name) -> None:
    image = recorded(48)
    base = make_problem(image, reference_condition(), seed=3)
    same = make_problem(image, compose({name: AXES[name].reference}), seed=3)
    assert torch.equal(same.data, base.data)
    assert torch.equal(same.reference, base.reference)
    levels = (0.05,) if name == "spikes" else None
    for condition in axis_conditions(name, levels):
        if condition.level in (0.03, 0.05) and name == "noise":
            continue  # below what the scan itself has
        other = make_problem(image, condition, seed=3)
        assert not torch.equal(other.data, base.data)
        if name not in ("noise", "gain"):
            assert torch.equal(other.reference, base.reference)
            kept = (other.data != 0) & (base.data != 0)
            if name not in ("spikes", "interference"):
                assert torch.equal(other.data[kept], base.data[kept])


@pytest.mark.parametrize("name", [n for n in AXES if n not in (*POSSIBLE, *IMAGE_AXES)])
def test_shifts_of_the_object_are_refused(name) -> None:
    for condition in axis_conditions(name):
        with pytest.raises(DataError, match=f"'{name}' needs an object to simulate a scan of"):
            make_problem(recorded(), condition, seed=0)


def test_a_domain_composes_with_what_is_possible() -> None:
    condition = compose({"field-strength": "0.055 T", "window": 0.5, "gain": 4.0})
    problem = make_problem(recorded(), condition, seed=0)
    one = make_problem(recorded(), compose({"window": 0.5}), seed=0)
    assert torch.equal(problem.data, 4 * one.data)
    assert torch.equal(problem.reference, 4 * one.reference)
    assert problem.noise_std == pytest.approx(4 * one.noise_std)
    (forward,) = problem.operator(problem.reference)
    assert torch.equal(forward != 0, problem.data != 0)
