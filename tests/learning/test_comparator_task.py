"""Training of the comparators: budgets, determinism, that it learns, and what its files say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lowfield_recon.configuration import read_document
from lowfield_recon.errors import UsageError
from lowfield_recon.learning.comparator_settings import ComparatorTaskSettings
from lowfield_recon.learning.comparators import COMPARATORS, ComparatorModel, load_comparator
from lowfield_recon.learning.schedule import FitSettings
from lowfield_recon.learning.tasks import checked, fit_settings, make_task
from lowfield_recon.learning.trainer import fit

FOLDER = Path(__file__).parents[2] / "lowfield_recon" / "learning" / "configs"
SMALL: dict[str, dict[str, Any]] = {
    "modl": {"filters": 8, "iterations": 3, "layers": 3},
    "srdensenet": {"blocks": 1, "layers": 2, "growth": 4, "bottleneck": 4},
    "tv-lambda": {"filters": 4, "iterations": 10},
    "unet": {"filters": 4, "pools": 1},
    "varnet": {"filters": 8, "cascades": 3, "layers": 3},
}


def _configs() -> list[tuple[str, Path]]:
    prefixes = {method.replace("-", "_"): method for method in COMPARATORS}
    return [
        (method, path)
        for path in sorted(FOLDER.glob("*.yaml"))
        for prefix, method in prefixes.items()
        if path.stem.startswith(f"{prefix}_")
    ]


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


def _task(method: str, images: Path, **changes: Any) -> Any:
    config: dict[str, Any] = {
        "model": SMALL[method],
        "loss": {"kind": "logarithmic", "ssim_weight": 0.5},
        "data": {"held_out": ["head3"], "tested": ["head2"]},
        "examples": {"crop": [32, 32], "snr": [8, 8]},
        "validation": {"snrs": [8], "windows": [0.7], "n_subjects": 1},
    }
    return make_task(method, {**config, **changes}, [images], torch.device("cpu"))


@pytest.mark.parametrize("method", COMPARATORS)
def test_a_step_depends_on_its_number_only(images, method) -> None:
    task = _task(method, images)
    state = torch.random.get_rng_state()
    losses = [float(task.loss(step).detach()) for step in (5, 1, 5)]
    assert losses[0] == losses[2]
    assert losses[0] != losses[1]
    assert torch.equal(state, torch.random.get_rng_state())
    again = _task(method, images).model.state_dict()
    assert all(torch.equal(value, again[key]) for key, value in task.model.state_dict().items())


@pytest.mark.parametrize("method", COMPARATORS)
def test_every_parameter_has_a_gradient_and_stands_in_one_group(images, method) -> None:
    task = _task(method, images)
    (task.loss(0) + task.loss(1)).backward()
    without = [name for name, p in task.model.named_parameters() if p.grad is None]
    assert without == []
    groups = task.parameter_groups(1e-3, 1e-2)
    moved = [id(p) for group in groups for p in group["params"]]
    assert sorted(moved) == sorted(id(p) for p in task.model.parameters())
    assert [group["weight_decay"] for group in groups[1:]] == [0.0] * (len(groups) - 1)


@pytest.mark.parametrize("method", COMPARATORS)
def test_training_lowers_the_validation_loss_and_its_weights_load(images, method, tmp_path) -> None:
    settings = FitSettings(
        steps=60, learning_rate=4e-3, validate_every=20, checkpoint_every=60, schedule="constant"
    )
    task = _task(method, images)
    before = task.validate()["loss"]
    result = fit(task, settings, tmp_path)
    assert result.best["loss"] < before - 0.005
    model = load_comparator(method, str(result.weights))
    assert model.settings == task.architecture
    assert not model.training
    card = task.card()
    assert card["left_out_subjects"] == ["head2"]
    assert card["trained_on_subjects"] == ["head0", "head1"]


def test_a_sensitivity_network_trains_on_coils_and_on_nothing_else(images) -> None:
    model = {"kind": "multi-coil", "cascades": 1, "filters": 2, "pools": 1,
             "sensitivity_filters": 2, "sensitivity_pools": 1}  # fmt: skip
    examples = {"crop": [32, 32], "snr": [8, 8], "coils": [3]}
    task = _task("varnet", images, model=model, examples=examples)
    task.loss(0).backward()
    assert all(p.grad is not None for p in task.model.parameters())
    assert np.isfinite(task.validate()["psnr"])
    with pytest.raises(UsageError, match="at least 2 coils in every example"):
        _task("varnet", images, model=model)


@pytest.mark.parametrize("method", ["modl", "varnet", "tv-lambda", "unet"])
def test_several_coils_train_too(images, method) -> None:
    task = _task(method, images, examples={"crop": [32, 32], "snr": [8, 8], "coils": [3]})
    loss = task.loss(0)
    loss.backward()
    assert torch.isfinite(loss)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": {"filtres": 3}}, r"model\.filtres: is no setting\. Did you mean 'filters'"),
        ({"model": {"filters": 0}}, r"model\.filters"),
        ({"batchsize": 3}, "Did you mean 'batch_size'"),
    ],
)
def test_settings_that_are_wrong_are_named(images, changes, words) -> None:
    with pytest.raises(UsageError, match=words):
        _task("modl", images, **changes)


def test_there_is_a_small_and_a_published_configuration_of_every_method() -> None:
    names = {path.stem for _, path in _configs()}
    for method, comparator in COMPARATORS.items():
        assert comparator.config in names
        assert f"{method.replace('-', '_')}_published" in names


@pytest.mark.parametrize(("method", "path"), _configs(), ids=lambda v: getattr(v, "stem", v))
def test_shipped_configurations_are_complete(method, path) -> None:
    content = dict(read_document(path).content)
    assert fit_settings(content).steps >= 1000
    content.pop("fit")
    settings = checked(ComparatorTaskSettings, content)
    architecture = checked(COMPARATORS[method].settings, settings.model, "model")
    count = sum(p.numel() for p in ComparatorModel(method, architecture).parameters())
    if path.stem.endswith("_small"):
        assert 28_000 <= count <= 52_000
    else:
        published = {"modl": 113_413, "varnet": 113_424, "srdensenet": 5_654_834,
                     "tv-lambda": 27_953, "unet": 7_756_418}  # fmt: skip
        assert count == published[method]


def test_small_configurations_have_the_budget_of_the_set_network() -> None:
    reference = dict(read_document(FOLDER / "cdl_lambda_set.yaml").content)
    for _, path in _configs():
        if not path.stem.endswith("_small"):
            continue
        content = dict(read_document(path).content)
        assert content["loss"] == reference["loss"]
        assert content["data"] == reference["data"]
        examples = {k: v for k, v in content["examples"].items() if k != "coils"}
        assert examples == reference["examples"]
        free = {"learning_rate"}
        assert {k: v for k, v in content["fit"].items() if k not in free} == {
            k: v for k, v in reference["fit"].items() if k not in free
        }


def test_weights_that_do_not_ship_are_asked_for_in_one_line(monkeypatch) -> None:
    from lowfield_recon.learning import comparators

    monkeypatch.setattr(comparators, "available_weights", lambda method: ())
    with pytest.raises(UsageError, match="train them with 'lowfield-recon train modl modl_small"):
        load_comparator("modl", "modl_small")
