"""Every installed tool solves the benchmark's problems: same images, same optima.

Peers that are not installed take no part; sigpy and mrpro always are.
"""

from functools import cache
from importlib import import_module

import numpy as np
import pytest

from lowfield_recon.errors import UsageError
from lowfield_recon.evaluation.benchmark.objective import (
    forward,
    nrmse,
    objective,
    relative_difference,
)
from lowfield_recon.evaluation.benchmark.problems import (
    BenchmarkCase,
    ProblemSize,
    build_problem,
    find_size,
)
from lowfield_recon.evaluation.benchmark.tools import TOOLS, select_tools
from lowfield_recon.evaluation.benchmark.tools.bart import read_cfl, write_cfl
from lowfield_recon.evaluation.benchmark.tools.reference import solve_reference

TINY = (ProblemSize("32x16x3", (1, 16, 32), 3, 6), ProblemSize("16x16x16x1", (16, 16, 16), 1, 7))
INSTALLED = [tool for tool in TOOLS.values() if tool.is_installed()]
ITERATIONS = {"cg-sense": 60, "tv": 400, "wavelet": 250}
ENTRIES = [
    pytest.param(tool, method, size, id=f"{tool.name}-{method}-{size.name}")
    for tool in INSTALLED
    for method in ITERATIONS
    for size in TINY
    if method not in tool.not_applicable
]


@cache
def problem_of(size):
    return build_problem(size)


@cache
def optimum_of(method, size):
    case = BenchmarkCase(method, size)
    image = solve_reference(case, problem_of(size), iterations=2000)
    return objective(method, problem_of(size), image, case.regularization_weight)


def run(tool, case, iterations, observer=None, exact_steps=True):
    module = import_module(tool.module)
    prepared = module.prepare(case, problem_of(case.size), exact_steps)
    return prepared.solve(iterations, observer)()


@pytest.mark.parametrize(("tool", "method", "size"), ENTRIES)
def test_every_tool_reaches_the_shared_optimum(tool, method, size):
    case = BenchmarkCase(method, size)
    image = run(tool, case, ITERATIONS[method])
    value = objective(method, problem_of(size), image, case.regularization_weight)
    assert value / optimum_of(method, size) - 1 == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("tool", INSTALLED, ids=lambda tool: tool.name)
def test_cg_sense_agrees_with_ours(tool):
    case = BenchmarkCase("cg-sense", find_size("64x64x4"))
    ours, theirs = (run(TOOLS[name], case, 60) for name in ("ours", tool.name))
    assert relative_difference(theirs, ours) <= 1e-3
    reference = problem_of(case.size).reference
    assert nrmse(theirs, reference) == pytest.approx(nrmse(ours, reference), rel=1e-3)


def test_cg_sense_is_the_dense_solution():
    case = BenchmarkCase("cg-sense", TINY[0])
    problem = problem_of(case.size)
    unit_images = np.eye(512).reshape(512, 1, 16, 32)
    A = np.stack(
        [forward(image, problem.coil_maps, problem.mask).ravel() for image in unit_images], axis=1
    )
    matrix = A.conj().T @ A + case.regularization_weight * np.eye(512)
    dense = np.linalg.solve(matrix, A.conj().T @ problem.kspace.ravel()).reshape(1, 16, 32)
    assert relative_difference(run(TOOLS["ours"], case, 60), dense) < 1e-5
    assert relative_difference(solve_reference(case, problem), dense) < 1e-7


@pytest.mark.parametrize("method", ["tv", "wavelet"])
def test_no_direction_leads_below_the_reference(method):
    case = BenchmarkCase(method, TINY[0])
    problem, weight = problem_of(case.size), case.regularization_weight
    image = solve_reference(case, problem, iterations=2000)
    least = objective(method, problem, image, weight)
    generator = np.random.default_rng(0)
    directions = [image, problem.reference - image, generator.standard_normal(image.shape)]
    for direction in directions:
        for step in (1e-3, -1e-3):
            assert objective(method, problem, image + step * direction, weight) >= least * (
                1 - 1e-9
            )


@pytest.mark.parametrize(
    ("tool", "method"),
    [(tool, method) for tool in INSTALLED for method in sorted(tool.observable)],
    ids=lambda value: getattr(value, "name", value),
)
def test_an_observed_run_shows_the_images_of_shorter_runs(tool, method):
    case = BenchmarkCase(method, TINY[0])
    seen = {}

    def observer(iteration, image):
        seen[iteration] = image().copy()
        return iteration < 5

    last = run(tool, case, 50, observer)
    assert sorted(seen) == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(seen[3], run(tool, case, 3), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(last, run(tool, case, 5), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["sigpy", "mrpro"])
def test_own_step_sizes_lead_to_the_same_optimum(name):
    case = BenchmarkCase("tv", TINY[0])
    image = run(TOOLS[name], case, 400, exact_steps=False)
    value = objective("tv", problem_of(case.size), image, case.regularization_weight)
    assert value / optimum_of("tv", case.size) - 1 == pytest.approx(0, abs=2e-2)


def test_cfl_keeps_order_and_values(tmp_path):
    image = np.arange(24).reshape(2, 3, 4) * (1 - 2j)
    write_cfl(tmp_path / "image", image)
    np.testing.assert_array_equal(read_cfl(tmp_path / "image"), image)


def test_unknown_tool_names_the_nearest():
    with pytest.raises(UsageError, match="'sigpy'"):
        select_tools(("sigpi",))
