"""The problems that all tools are given."""

from pathlib import Path

import numpy as np
import pytest

from lowfield_recon.errors import UsageError
from lowfield_recon.evaluation.benchmark.objective import forward
from lowfield_recon.evaluation.benchmark.problems import (
    NOISE_STD,
    SIZES,
    build_problem,
    find_size,
    hashes,
    read_problem,
    select_cases,
    write_problem,
)

SMALL = SIZES["small"]


@pytest.mark.parametrize("size", SMALL, ids=lambda size: size.name)
def test_a_quarter_is_sampled_and_the_centre_fully(size):
    problem = build_problem(size)
    assert problem.mask.mean() == pytest.approx(0.25, abs=1e-3)
    n_z, n_y = problem.mask.shape[:2]
    centre = problem.mask[n_z // 2 - (n_z > 1) : n_z // 2 + 1, n_y // 2 - 3 : n_y // 2 + 3]
    assert centre.all()
    assert not problem.kspace[:, ~np.broadcast_to(problem.mask, size.image_shape)].any()


def test_coil_maps_are_normalised():
    maps = build_problem(SMALL[0]).coil_maps
    np.testing.assert_allclose(np.sum(np.abs(maps) ** 2, axis=0), 1, atol=1e-6)


def test_noise_has_the_stated_level():
    problem = build_problem(find_size("32x32x32x1"))
    noise = problem.kspace - forward(problem.reference, None, problem.mask)
    sampled = noise[:, np.broadcast_to(problem.mask, problem.reference.shape)]
    assert np.sqrt(np.mean(np.abs(sampled) ** 2)) == pytest.approx(NOISE_STD, rel=0.02)


def test_the_same_seed_gives_the_same_problem_and_another_size_another():
    first, again, other = (hashes(build_problem(size)) for size in (SMALL[0], SMALL[0], SMALL[1]))
    assert first == again
    assert first["data"] != other["data"]
    assert other["maps"] is None


@pytest.mark.parametrize("size", SMALL, ids=lambda size: size.name)
def test_what_is_written_is_read(size, tmp_path: Path):
    problem = build_problem(size)
    write_problem(problem, tmp_path)
    assert hashes(read_problem(tmp_path)) == hashes(problem)


def test_full_sizes_are_those_of_the_protocol():
    shapes = [(size.image_shape, size.n_coils) for size in SIZES["full"]]
    assert shapes == [((1, 256, 256), 4), ((1, 320, 640), 15), ((128, 128, 128), 1)]


def test_cases_are_chosen_by_method_size_or_both():
    assert len(select_cases("full")) == 9
    assert [case.name for case in select_cases("full", ("tv/256x256x4", "128x128x128x1"))] == [
        "tv/256x256x4",
        "cg-sense/128x128x128x1",
        "tv/128x128x128x1",
        "wavelet/128x128x128x1",
    ]


@pytest.mark.parametrize(
    ("size", "patterns", "hint"),
    [("full", ("tvv",), "'tv'"), ("fulll", (), "'full'"), ("small", ("256x256x4",), "Known")],
)
def test_unknown_words_name_the_nearest(size, patterns, hint):
    with pytest.raises(UsageError, match=hint):
        select_cases(size, patterns)


def test_unknown_size_is_an_error():
    with pytest.raises(UsageError, match="256x256x4"):
        find_size("256x256x5")
