"""Images that were cut short are never taken for results of a method."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from lowfield_recon.evaluation.benchmark import quality_methods
from lowfield_recon.operators import identity_operator
from lowfield_recon.problem import InverseProblem, Reconstruction
from lowfield_recon.reconstructors.interruption import is_interrupted, uninterrupted


def _result(reason: str | None) -> Reconstruction:
    diagnostics = {} if reason is None else {"stopping_reason": reason}
    return Reconstruction(image=torch.ones(1, 1, 1, 8, 8), method="m", diagnostics=diagnostics)


@pytest.mark.parametrize("reason", [None, "iterations", "budget"])
def test_whole_results_are_handed_through(reason):
    result = _result(reason)
    assert not is_interrupted(result)
    assert uninterrupted(result) is result


def test_an_interrupted_result_is_an_interrupt():
    assert is_interrupted(_result("interrupted"))
    with pytest.raises(KeyboardInterrupt):
        uninterrupted(_result("interrupted"))


def test_a_benchmark_scores_no_interrupted_image(monkeypatch):
    def create(_method: str, _settings: object) -> SimpleNamespace:
        return SimpleNamespace(reconstruct=lambda _problem: _result("interrupted"))

    monkeypatch.setattr(quality_methods, "create", create)
    truth = torch.rand(1, 1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    problem = InverseProblem(data=truth, operator=identity_operator(), reference=truth)
    with pytest.raises(KeyboardInterrupt):
        quality_methods.solve(problem, "fit", {})
