"""Training of CDL-Lambda: gradients, determinism, that it learns, and what its files say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lowfield_recon.configuration import read_document
from lowfield_recon.errors import UsageError
from lowfield_recon.learning.cdl_lambda import load_model
from lowfield_recon.learning.cdl_lambda_task import CdlLambdaTask, make_task
from lowfield_recon.learning.schedule import FitSettings
from lowfield_recon.learning.trainer import fit

DICTIONARY = "brain_K16_k9_lam2_beta0.5"
CONFIGS = sorted(
    (Path(__file__).parents[2] / "lowfield_recon" / "learning" / "configs").glob("cdl_lambda*.yaml")
)


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """Four subjects: smooth discs with a texture."""
    folder = tmp_path_factory.mktemp("images")
    y, x = np.mgrid[:40, :36]
    for subject in range(4):
        disc = ((y - 20) ** 2 + (x - 18) ** 2 < 15**2) * 1.0
        texture = 1 + 0.4 * np.sin(0.9 * x + subject) * np.cos(0.7 * y)
        volume = np.stack([disc * texture, disc], axis=0)
        np.save(folder / f"head{subject}.npy", volume.astype(np.float32))
    return folder


def _task(images: Path, **changes: Any) -> CdlLambdaTask:
    config: dict[str, Any] = {
        "model": {"network": {"name": "set", "filters": 4}},
        "unroll": {"solver": "admm", "iterations": 6},
        "loss": {"kind": "logarithmic", "ssim_weight": 0.5},
        "data": {"held_out": ["head3"], "tested": ["head2"]},
        "examples": {"crop": [32, 32], "snr": [8, 8]},
        "dictionaries": [DICTIONARY, "natural_K32_*"],
        "validation": {
            "snrs": [8], "windows": [0.7], "n_subjects": 1, "dictionaries": [DICTIONARY]
        },
    }  # fmt: skip
    return make_task({**config, **changes}, [images], torch.device("cpu"))


def _gradient(task: CdlLambdaTask, step: int = 0) -> torch.Tensor:
    task.model.zero_grad()
    task.loss(step).backward()
    return torch.cat([p.grad.flatten() for p in task.model.parameters()])  # type: ignore[union-attr]


def test_subjects_stand_on_one_side_only(images) -> None:
    task = _task(images)
    assert task.images.subjects == ("head0", "head1")
    assert task.held_out.subjects == ("head3",)
    card = task.card()
    assert card["left_out_subjects"] == ["head2"]
    assert set(card["dictionary_sha256"]) == {
        DICTIONARY, "natural_K32_k11_lam0.5_beta0.25", "natural_K32_k11_lam2_beta0.25"
    }  # fmt: skip


def test_a_step_depends_on_its_number_only(images) -> None:
    task = _task(images)
    state = torch.random.get_rng_state()
    losses = [float(task.loss(step).detach()) for step in (5, 1, 5)]
    assert losses[0] == losses[2]
    assert losses[0] != losses[1]
    assert torch.equal(state, torch.random.get_rng_state())


def test_fresh_weights_depend_on_the_seed_only(images) -> None:
    first, second, other = (_task(images, seed=seed).model.state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(value, second[key]) for key, value in first.items())
    assert any(not torch.equal(value, other[key]) for key, value in first.items())


@pytest.mark.parametrize(
    "unroll",
    [
        {"solver": "fista", "iterations": 6},
        {"solver": "fista", "iterations": 6, "tracked": 3},
        {"solver": "admm", "iterations": 6},
        {"solver": "implicit", "iterations": 200},
    ],
    ids=["fista", "truncated", "admm", "implicit"],
)
@pytest.mark.parametrize("network", ["set", "v3"])
def test_every_way_to_differentiate_gives_gradients(images, unroll, network) -> None:
    model = {"network": {"name": network, "filters": 4}}
    gradient = _gradient(_task(images, unroll=unroll, model=model))
    assert torch.isfinite(gradient).all()
    assert float(gradient.norm()) > 0


def test_several_coils_train_too(images) -> None:
    changes = {
        "unroll": {"solver": "fista", "iterations": 4},
        "examples": {"crop": [32, 32], "snr": [8, 8], "coils": [3]},
    }
    assert torch.isfinite(_gradient(_task(images, **changes))).all()


def test_several_coils_need_fista(images) -> None:
    with pytest.raises(UsageError, match="several coils need"):
        _task(images, examples={"crop": [32, 32], "coils": [3]})


def test_the_gradient_of_beta_is_that_of_finite_differences(images) -> None:
    task = _task(images, unroll={"solver": "fista", "iterations": 4}, loss={})
    _gradient(task)
    analytic = float(task.model.raw_beta.grad)  # type: ignore[arg-type]
    step = 2e-3
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            task.model.raw_beta += sign * step
            values.append(float(task.loss(0)))
            task.model.raw_beta -= sign * step
    assert analytic == pytest.approx((values[0] - values[1]) / (2 * step), rel=2e-2)


def test_training_lowers_the_validation_loss(images, tmp_path) -> None:
    settings = FitSettings(
        steps=30, learning_rate=5e-3, validate_every=10, checkpoint_every=30, schedule="constant"
    )
    task = _task(images, dictionaries=[DICTIONARY])
    before = task.validate()["loss"]
    result = fit(task, settings, tmp_path)
    assert result.best["loss"] < before - 0.01
    model = load_model(str(result.weights))
    assert model.settings == task.settings.model


def test_a_pattern_that_matches_nothing_is_refused(images) -> None:
    with pytest.raises(UsageError, match=r"no name matches 'brian_\*'"):
        _task(images, dictionaries=["brian_*"])
    with pytest.raises(UsageError, match="all are excluded"):
        _task(images, excluded_dictionaries=["*"])


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configurations_are_complete(path) -> None:
    from lowfield_recon.learning.cdl_lambda_settings import TaskSettings
    from lowfield_recon.learning.tasks import checked, fit_settings

    content = dict(read_document(path).content)
    assert fit_settings(content).steps >= 1000
    content.pop("fit")
    settings = checked(TaskSettings, content)
    assert settings.model.network.name == path.stem.removeprefix("cdl_lambda_").split("_")[0]


def test_there_are_configurations() -> None:
    assert {path.stem for path in CONFIGS} >= {"cdl_lambda_set", "cdl_lambda_v1", "cdl_lambda_v3"}
