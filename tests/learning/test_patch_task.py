"""Training of NCPR and CPR: examples, that it learns, and what its files say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lowfield_recon.cli.app import main
from lowfield_recon.configuration import read_document
from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.learning.image_set import ImageSet
from lowfield_recon.learning.patch_crops import grey_levels, start_from_patches
from lowfield_recon.learning.patch_denoising import solve_coefficients
from lowfield_recon.learning.patch_prior import load_patch_prior
from lowfield_recon.learning.patch_reduced import reduced_problem
from lowfield_recon.learning.patch_settings import PatchTaskSettings
from lowfield_recon.learning.patch_task import PatchTask
from lowfield_recon.learning.schedule import FitSettings, learning_rate_factor
from lowfield_recon.learning.tasks import TASKS, make_task
from lowfield_recon.learning.trainer import fit

CPU = torch.device("cpu")
METHODS = ("ncpr", "cpr")
ARMS = ("", "_dct", "_dct16", "_none")
CONFIGS = Path(__file__).parents[2] / "lowfield_recon" / "learning" / "configs"
SMALL = {
    "model": {"patch": 5, "atoms": 10, "free_atoms": 12, "base_scale": 0.01},
    "examples": {"crop": 16},
    "solve": {"tolerance": 1e-4, "iterations": 300, "backward_tolerance": 1e-2},
    "data": {"held_out": ["scene3"]},
    "validation": {"n_images": 1, "crop": 20},
    "batch_size": 2,
    "start": "gaussian",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Four photographs: a tilted edge and a texture."""
    place = tmp_path_factory.mktemp("photographs")
    y, x = np.mgrid[:40, :36]
    for n in range(4):
        picture = 90 + 80 * (y + n * x > 30 + 20 * n) + 30 * np.sin(0.9 * x + n) * np.cos(0.7 * y)
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(place / f"scene{n}.png")
    return place


def _task(folder: Path, method: str = "ncpr", **changes: Any) -> PatchTask:
    task = make_task(method, {**SMALL, **changes}, [folder], CPU)
    assert isinstance(task, PatchTask)
    return task


def test_subjects_stand_on_one_side_only(folder) -> None:
    task = _task(folder, data={"held_out": ["scene3"], "tested": ["scene0"]})
    card = task.card()
    assert card["trained_on_subjects"] == ["scene1", "scene2"]
    assert card["validated_on_subjects"] == ["scene3"]
    assert card["left_out_subjects"] == ["scene0"]


def test_a_step_depends_on_seed_and_number_only(folder) -> None:
    task = _task(folder)
    state = torch.random.get_rng_state()
    losses = [float(task.loss(step).detach()) for step in (5, 1, 5)]
    assert losses[0] == losses[2]
    assert losses[0] != losses[1]
    assert torch.equal(state, torch.random.get_rng_state())
    again, other = _task(folder).batch(5)[0], _task(folder, seed=1).batch(5)[0]
    assert torch.equal(task.batch(5)[0], again)
    assert not torch.equal(task.batch(5)[0], other)


def test_the_noise_has_the_stated_level(folder) -> None:
    noisy, clean = _task(folder, noise=51.0, batch_size=64).batch(0)
    assert noisy.shape == clean.shape == (64, 16, 16)
    assert 0 <= float(clean.min()) < float(clean.max()) <= 1
    assert float((noisy - clean).std()) == pytest.approx(0.2, rel=0.02)


def test_crops_are_turned_and_mirrored(folder) -> None:
    """Crops of an image as large as they are show all eight positions, or only its own."""
    square = torch.arange(256.0).reshape(16, 16) / 256
    images = ImageSet(images={"a": (square,), "b": (square,)})
    for turned, count in ((True, 8), (False, 1)):
        content = {**SMALL, "data": {"held_out": ["b"]}, "batch_size": 100}
        settings = PatchTaskSettings.model_validate(
            {**content, "examples": {"crop": 16, "turned": turned}}
        )
        _, clean = PatchTask("ncpr", settings, images, CPU).batch(0)
        assert len({tuple(crop.flatten().tolist()) for crop in clean}) == count


@pytest.mark.parametrize("method", METHODS)
def test_the_loss_is_that_of_the_solution(folder, method) -> None:
    task = _task(folder, method, solve={"tolerance": 1e-6, "iterations": 5000})
    noisy, clean = task.batch(0)
    problem = reduced_problem(noisy.double(), task.model.regularizer(dtype=torch.float64))
    found = solve_coefficients(problem, tolerance=1e-10, iterations=20_000)
    image = problem.image(problem.channels(found.coefficients))
    expected = float((image - clean).abs().mean())
    assert float(task.loss(0).detach()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_three_steps_lower_the_loss_of_their_batch(folder, method) -> None:
    task = _task(folder, method, start="patches")
    groups = task.parameter_groups(3e-3, 0.0)
    optimizer = torch.optim.Adam(groups)
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = task.loss(0)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[3] < losses[2] < losses[0]


def test_scales_and_beta_have_a_rate_of_their_own(folder) -> None:
    task = _task(folder, scale_rate=5.0)
    atoms, slow = task.parameter_groups(2e-4, 1e-2)
    assert (atoms["lr"], atoms["weight_decay"]) == (2e-4, 1e-2)
    assert (slow["lr"], slow["weight_decay"]) == (pytest.approx(1e-3), 0.0)
    assert {id(p) for p in slow["params"]} == {id(task.model.beta), id(task.model.scaling)}
    assert len(atoms["params"]) + len(slow["params"]) == len(list(task.model.parameters()))


@pytest.mark.parametrize("method", METHODS)
def test_validation_judges_the_clamped_image(folder, method) -> None:
    task = _task(folder, method, noise=120.0)
    figures = task.validate()
    assert set(figures) == {"loss", "psnr", "beta", "overlap"}
    assert figures["beta"] == pytest.approx(2.0)
    assert figures["overlap"] <= 1e-6
    ((noisy, clean),) = task._centres
    problem = reduced_problem(noisy[None], task.model.regularizer())
    found = solve_coefficients(problem, tolerance=1e-4)
    image = problem.image(problem.channels(found.coefficients))[0].clamp(0, 1)
    error = np.mean((image.numpy().astype(float) - clean.numpy()) ** 2)
    assert figures["psnr"] == pytest.approx(-10 * np.log10(error), abs=1e-3)
    assert task.validate() == figures


def test_validation_tells_what_the_last_step_needed(folder) -> None:
    task = _task(folder)
    task.loss(0).backward()
    figures = task.validate()
    assert figures["iterations"] > 1
    assert figures["backward_iterations"] >= 1
    assert figures["unsolved"] == 0


@pytest.mark.parametrize("removal", ["learned", "dct", "none"])
def test_all_starts_hold_patches_of_length_one(folder, removal) -> None:
    free = 0 if removal == "none" else 12
    model = {**SMALL["model"], "removal": removal, "free_atoms": free}
    task = _task(folder, model=model, start="patches")
    rows = task.model.atoms.detach().flatten(1)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(10))
    torch.testing.assert_close(rows.mean(dim=1), torch.zeros(10), rtol=0, atol=1e-6)
    assert hasattr(task.model, "free_atoms") == (removal == "learned")


def test_the_smooth_basis_starts_with_principal_components(folder) -> None:
    """Of any 12 directions these leave the least of the patches, up to those drawn at random."""
    task = _task(folder, start="patches")
    rows = torch.cat(
        [
            image.unfold(0, 5, 1).unfold(1, 5, 1).reshape(-1, 25)
            for subject in task.images.subjects
            for image in task.images.images[subject]
        ]
    ).double()
    rows = torch.cat([rows, rows.reshape(-1, 5, 5).rot90(1, (1, 2)).reshape(-1, 25)])
    rows = rows - rows.mean(dim=1, keepdim=True)
    best = torch.linalg.eigvalsh(rows.mT @ rows)[-12:].sum()
    smooth = task.model.smooth_basis().detach().flatten(1).double()
    assert float((rows @ smooth.mT).square().sum() / best) > 0.995


def test_flat_images_have_no_patches_to_start_from(folder) -> None:
    task = _task(folder)
    with pytest.raises(DataError, match="10 atoms, but most of them are flat"):
        start_from_patches(task.model, [torch.ones(30, 30)])


def test_images_become_grey_levels() -> None:
    images = ImageSet(
        images={
            "a": (torch.full((16, 16), 0.5),),
            "b": (4 * torch.eye(16), -2j * torch.ones(16, 16)),
        }
    )
    found = grey_levels(images).images
    assert torch.equal(found["a"][0], images.images["a"][0])
    assert torch.equal(found["b"][0], torch.eye(16))
    assert torch.equal(found["b"][1], torch.full((16, 16), 0.5))


@pytest.mark.parametrize("method", METHODS)
def test_weights_are_read_back(folder, tmp_path, method) -> None:
    settings = FitSettings(steps=2, learning_rate=1e-4, validate_every=1, schedule="exponential")
    result = fit(_task(folder, method), settings, tmp_path / "run")
    prior = load_patch_prior(result.weights, method=method)
    assert prior.settings.patch == 5
    assert prior.card["figures"]["psnr"] == result.best["psnr"]
    other = next(m for m in METHODS if m != method)
    with pytest.raises(DataError, match=f"weights of the method '{method}'"):
        load_patch_prior(result.weights, method=other)


def test_a_training_goes_on_from_weights_of_the_same_model(folder, tmp_path) -> None:
    fit(
        _task(folder),
        FitSettings(steps=2, validate_every=2, learning_rate=1e-4),
        tmp_path,
        device=CPU,
    )
    weights = str(tmp_path / "weights.safetensors")
    first = load_patch_prior(weights, method="ncpr")
    continued = _task(folder, start=weights)
    assert continued.card()["settings"]["start"] == "weights.safetensors"
    again = continued.model
    fresh = _task(folder).model
    for name, value in again.named_parameters():
        assert value.requires_grad
        torch.testing.assert_close(value, dict(first.named_parameters())[name], rtol=0, atol=0)
    assert not torch.equal(again.atoms, fresh.atoms)
    with pytest.raises(UsageError, match=r"model\.atoms = 10, the configuration 11"):
        _task(folder, start=weights, model={**SMALL["model"], "atoms": 11})
    with pytest.raises(UsageError, match="patchez"):
        _task(folder, start="patchez")


def test_an_interrupted_training_goes_on_to_the_same_weights(folder, tmp_path) -> None:
    settings = {"learning_rate": 1e-4, "validate_every": 2, "checkpoint_every": 1, "averaging": 0.9}
    whole = fit(
        _task(folder), FitSettings(steps=4, schedule="constant", **settings), tmp_path / "a"
    )
    for steps in (3, 4):
        parts = fit(
            _task(folder), FitSettings(steps=steps, schedule="constant", **settings), tmp_path / "b"
        )
    one, other = (load_patch_prior(r.weights, method="ncpr") for r in (whole, parts))
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
    assert whole.best["loss"] == parts.best["loss"]


def test_the_exponential_schedule_ends_where_it_is_told() -> None:
    settings = FitSettings(steps=110, warmup_steps=10, schedule="exponential", final_rate=0.01)
    rates = [learning_rate_factor(settings, step) for step in (0, 9, 10, 60, 110)]
    assert rates == pytest.approx([0.1, 1.0, 1.0, 0.1, 0.01])


@pytest.mark.parametrize(
    ("method", "changes", "match"),
    [
        ("ncpr", {"model": {"potential": "group"}}, "'group' is not that of ncpr"),
        ("ncpr", {"examples": {"crop": 12}, "model": {"patch": 13}}, "at least the 13 pixels"),
        ("cpr", {"examples": {"crop": 17}}, "a multiple of 2, got 17"),
        ("ncpr", {"noise": 0}, "noise: input should be greater than 0"),
        ("ncpr", {"solve": {"tolerence": 1}}, "Did you mean 'tolerance'"),
        ("ncpr", {"model": {"patch": 4}}, "expected an odd side"),
    ],
)
def test_wrong_settings_are_named(folder, method, changes, match) -> None:
    with pytest.raises(UsageError, match=match):
        make_task(method, {**SMALL, **changes}, [folder], CPU)


def test_images_smaller_than_a_crop_are_refused(folder) -> None:
    with pytest.raises(DataError, match="none has 64 pixels along both sides"):
        _task(folder, examples={"crop": 64})


def test_the_command_trains(folder, tmp_path, capfd) -> None:
    words = ["fit.steps=2", "fit.warmup_steps=0", "model.patch=5", "model.atoms=8"]
    words += ["model.free_atoms=12", "examples.crop=16", "validation.crop=16", "data.held_out=1"]
    options = [part for word in words for part in ("--set", word)]
    run = ["train", "ncpr", "ncpr_small", "--images", str(folder), "-o", str(tmp_path / "run")]
    assert main([*run, *options]) == 0
    assert "all steps are done: 2 steps" in capfd.readouterr().out
    assert (
        load_patch_prior(tmp_path / "run" / "weights.safetensors", method="ncpr").name == "weights"
    )


@pytest.mark.parametrize(
    "path", sorted(CONFIGS.glob("*cpr_*.yaml")), ids=lambda path: str(path.stem)
)
def test_every_configuration_that_ships_is_valid(path) -> None:
    content = read_document(path).content
    fitting = FitSettings.model_validate(content.pop("fit"))
    method = path.stem.split("_")[0]
    assert method in TASKS
    content["model"]["potential"] = {"ncpr": "power", "cpr": "group"}[method]
    settings = PatchTaskSettings.model_validate(content)
    assert fitting.steps > fitting.warmup_steps
    penalised = {"ncpr_published": 48, "ncpr_small_none": 80, "ncpr_small_dct16": 64,
                 "ncpr_medium": 32, "ncpr_medium_refined": 32}  # fmt: skip
    assert settings.model.n_penalised == penalised.get(path.stem, 28)


def test_the_ablation_has_equal_budgets() -> None:
    """The arms differ in what is removed, and in nothing else."""
    arms = [read_document(CONFIGS / f"ncpr_small{arm}.yaml").content for arm in ARMS]
    removals = []
    for arm in arms:
        removals.append(arm["model"].pop("removal"))
        arm["model"].pop("free_atoms")
    assert removals == ["learned", "dct", "dct", "none"]
    assert all(arm == arms[0] for arm in arms)
