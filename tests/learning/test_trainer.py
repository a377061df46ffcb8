"""The training loop: its steps by hand, its files, interruption and resumption."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.learning import trainer
from lowfield_recon.learning.checkpoints import read_checkpoint
from lowfield_recon.learning.curves import open_curves
from lowfield_recon.learning.schedule import learning_rate_factor
from lowfield_recon.learning.tensor_files import read_tensors
from lowfield_recon.learning.trainer import FitSettings, fit
from lowfield_recon.learning.weight_files import load_weights

HERE = Path(__file__).parent


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> ModuleType:
    monkeypatch.syspath_prepend(HERE)
    if "picture" not in request.node.name:
        monkeypatch.setattr(trainer, "draw_curves", lambda *things: None)
    return import_module("toy_task")


@pytest.fixture
def make(toy):
    return lambda **settings: toy.ToyTask(toy.ToySettings(**settings))


def settings(**changes) -> FitSettings:
    few = {
        "steps": 12, "learning_rate": 0.01, "weight_decay": 0.1, "warmup_steps": 3,
        "gradient_clip": 0.5, "averaging": 0.8, "validate_every": 4, "checkpoint_every": 3,
    }  # fmt: skip
    return FitSettings(**{**few, **changes})


class Interrupted(BaseException):
    """Stands for a process that ends at this very moment."""


def interrupted_at(step: int):
    def progress(done: int, total: int, loss: float | None) -> None:
        if done == step:
            raise Interrupted

    return progress


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "curves.jsonl").read_text().splitlines()]


def without_seconds(folder: Path) -> dict:
    card = json.loads((folder / "weights.json").read_text())
    del card["training"]["seconds"]
    return card


def test_the_schedule_is_the_formula():
    cosine = FitSettings(steps=110, warmup_steps=10, schedule="cosine")
    for n in range(10):
        assert learning_rate_factor(cosine, n) == pytest.approx((n + 1) / 10)
    for n in range(10, 110):
        expected = math.cos(math.pi * (n - 10) / 200) ** 2  # half-angle form
        assert learning_rate_factor(cosine, n) == pytest.approx(expected, abs=1e-12)
    constant = FitSettings(steps=110, warmup_steps=10, schedule="constant")
    assert [learning_rate_factor(constant, n) for n in (4, 10, 60, 200)] == [0.5, 1, 1, 1]


def test_its_steps_are_those_of_adamw_written_out(make, tmp_path):
    chosen = settings(validate_every=100, accumulate=2, steps=6)
    task, reference = make(width=5), make(width=5)
    fit(task, chosen, tmp_path / "run")

    parameters = dict(reference.model.named_parameters())
    first = next(iter(parameters))
    m = {k: torch.zeros_like(p) for k, p in parameters.items()}
    v = {k: torch.zeros_like(p) for k, p in parameters.items()}
    average = {k: p.detach().clone() for k, p in parameters.items()}
    written = [entry for entry in lines(tmp_path / "run") if "validation" not in entry]
    for n in range(6):
        reference.model.train()
        reference.model.zero_grad()
        for index in range(2):
            (reference.loss(2 * n + index) / 2).backward()
        norm = math.sqrt(sum(float(p.grad.square().sum()) for p in parameters.values()))
        rate = 0.01 * learning_rate_factor(chosen, n)
        assert written[n]["gradient_norm"] == pytest.approx(norm, rel=1e-4)
        assert written[n]["learning_rate"] == pytest.approx(rate)
        with torch.no_grad():
            for name, p in parameters.items():
                g = p.grad * min(1.0, 0.5 / norm)
                lr, decay = (2 * rate, 0.0) if name == first else (rate, 0.1)
                m[name] = 0.9 * m[name] + 0.1 * g
                v[name] = 0.999 * v[name] + 0.001 * g**2
                step = (m[name] / (1 - 0.9 ** (n + 1))) / (
                    (v[name] / (1 - 0.999 ** (n + 1))).sqrt() + 1e-8
                )
                p -= lr * decay * p + lr * step
                d = min(0.8, (2 + n) / (11 + n))
                average[name] = d * average[name] + (1 - d) * p
    for name, p in task.model.named_parameters():
        torch.testing.assert_close(p, parameters[name], rtol=1e-5, atol=1e-6)
    weights = load_weights(tmp_path / "run" / "weights.safetensors", method="toy")
    for name, expected in average.items():
        torch.testing.assert_close(weights.state[name], expected, rtol=1e-5, atol=1e-6)
    buffers = dict(reference.model.named_buffers())
    torch.testing.assert_close(weights.state["1.running_mean"], buffers["1.running_mean"])
    assert task.steps == list(range(12))


def test_the_figures_are_those_of_the_weights_it_keeps(make, tmp_path):
    result = fit(make(), settings(), tmp_path)
    fresh = make(seed=8)
    fresh.settings = make().settings
    fresh.model.load_state_dict(load_weights(result.weights, method="toy").state)
    fresh.model.eval()
    with torch.no_grad():
        assert fresh.validate()["loss"] == result.best["loss"]
    card = json.loads((tmp_path / "weights.json").read_text())
    assert card["figures"] == result.best
    assert card["data_licence"] == "made up"
    assert card["training"]["steps"] == 12


def test_a_picture_of_the_curves_is_drawn_at_each_validation(make, tmp_path):
    picture = tmp_path / "curves.png"
    chosen = settings(steps=6, validate_every=3)
    with pytest.raises(Interrupted):
        fit(make(nan_from=1, nan_steps=1), chosen, tmp_path, progress=interrupted_at(4))
    first = picture.read_bytes()
    assert first.startswith(b"\x89PNG")
    fit(make(nan_from=1, nan_steps=1), chosen, tmp_path)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.read_bytes() != first


def test_the_best_weights_are_kept_when_later_ones_are_worse(make, tmp_path):
    task = make()
    losses = iter([3.0, 1.0, 2.0])
    kept = []

    def validate():
        kept.append({k: t.clone() for k, t in task.model.state_dict().items()})
        return {"loss": next(losses)}

    task.validate = validate
    result = fit(task, settings(averaging=0), tmp_path)
    assert result.best == {"step": 8, "loss": 1.0}
    assert same(load_weights(result.weights, method="toy").state, kept[1])
    assert not same(kept[1], kept[2])


def test_without_averaging_the_weights_are_those_of_the_model(make, tmp_path):
    task = make()
    result = fit(task, settings(averaging=0, validate_every=100), tmp_path)
    state = load_weights(result.weights, method="toy").state
    assert same(state, dict(task.model.state_dict()))


def test_validation_leaves_the_training_as_it_was(make, tmp_path):
    often, seldom = make(), make()
    fit(often, settings(validate_every=1), tmp_path / "a")
    fit(seldom, settings(validate_every=100), tmp_path / "b")
    assert same(dict(often.model.state_dict()), dict(seldom.model.state_dict()))


@pytest.mark.parametrize("at", [1, 3, 5, 8, 11, 12])
def test_an_interrupted_run_goes_on_to_the_same_result(make, tmp_path, at):
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    uninterrupted, resumed = make(), make()
    fit(uninterrupted, settings(), straight, command="c")
    with pytest.raises(Interrupted):
        fit(make(), settings(), broken, progress=interrupted_at(at))
    torch.manual_seed(at)  # the run depends on no global random number
    torch.rand(7)
    fit(resumed, settings(), broken, command="c")
    checkpoints = [0, *(n for n in range(1, at) if n % 3 == 0 or n % 4 == 0)]
    assert resumed.steps == list(range(checkpoints[-1], 12))
    assert same(dict(resumed.model.state_dict()), dict(uninterrupted.model.state_dict()))
    for name in ("weights.safetensors", "checkpoint.safetensors"):
        assert same(read_tensors(straight / name)[0], read_tensors(broken / name)[0])
    assert lines(straight) == lines(broken)
    assert without_seconds(straight) == without_seconds(broken)


def test_the_global_random_numbers_stay_untouched(make, tmp_path):
    before = torch.get_rng_state()
    fit(make(), settings(), tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


SCRIPT = """
import os, signal, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
from toy_task import ToySettings, ToyTask
from lowfield_recon.learning import trainer
trainer.draw_curves = lambda *things: None
settings = trainer.FitSettings.model_validate_json(sys.argv[3])
folder = Path(sys.argv[2])

def train(folder, progress=None):
    trainer.fit(ToyTask(ToySettings()), settings, folder, progress=progress, tell=lambda line: None)

train(folder / "straight")
for steps, wait in ((1, 0.0), (9, 0.003), (20, 0.0), (33, 0.001), (14, 0.002)):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        train(folder / "killed", lambda *numbers: os.write(writing, b"."))
        os._exit(0)
    os.close(writing)
    for _ in range(steps):
        assert os.read(reading, 1) == b".", "it was done before it was killed"
    time.sleep(wait)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reading)
    checkpoint = folder / "killed" / "checkpoint.safetensors"
    print(trainer.read_checkpoint(checkpoint).counters.step)
train(folder / "killed")
"""


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_weights(toy, tmp_path):
    chosen = settings(steps=200, validate_every=40, checkpoint_every=7)
    command = [sys.executable, "-c", SCRIPT, str(HERE), str(tmp_path), chosen.model_dump_json()]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    reached = [int(line) for line in done.stdout.splitlines()]
    assert reached == sorted(reached)
    assert 50 < reached[-1] < 200
    killed, straight = tmp_path / "killed", tmp_path / "straight"
    for name in ("weights.safetensors", "checkpoint.safetensors"):
        assert same(read_tensors(killed / name)[0], read_tensors(straight / name)[0])
    assert lines(killed) == lines(straight)
    assert without_seconds(killed) == without_seconds(straight)


@pytest.mark.parametrize("in_gradient", [False, True])
def test_steps_that_are_not_finite_are_skipped_and_counted(make, tmp_path, in_gradient):
    chosen = settings(schedule="constant", warmup_steps=0, averaging=0)
    odd = make(nan_from=4, nan_steps=9, nan_in_gradient=in_gradient)
    result = fit(odd, chosen.model_copy(update={"steps": 13}), tmp_path / "a")
    assert result.skipped == 9
    assert result.steps == 13
    plain = make()
    fit(plain, chosen.model_copy(update={"steps": 4}), tmp_path / "b")
    odd_weights = [p.detach() for p in odd.model.parameters()]
    plain_weights = [p.detach() for p in plain.model.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(odd_weights, plain_weights, strict=True))
    entries = [e for e in lines(tmp_path / "a") if "validation" not in e]
    assert entries[4]["gradient_norm"] is None
    assert (
        json.loads((tmp_path / "a" / "weights.json").read_text())["training"]["skipped_steps"] == 9
    )


def test_ten_such_steps_in_a_row_end_the_run_even_over_a_resumption(make, tmp_path):
    task = {"nan_from": 2, "nan_steps": 10}
    with pytest.raises(Interrupted):
        fit(make(**task), settings(), tmp_path, progress=interrupted_at(7))
    with pytest.raises(DataError, match="not finite in 10 steps in a row, the last is step 12"):
        fit(make(**task), settings(), tmp_path)


def test_steps_that_fail_now_and_then_do_not_end_the_run(make, tmp_path):
    task = make()
    loss = task.loss
    task.loss = lambda step: loss(step) / (1 if step % 10 == 9 else 0)
    result = fit(task, settings(steps=28), tmp_path)
    assert (result.steps, result.skipped) == (28, 26)


def test_a_validation_that_is_not_finite_is_never_the_best(make, tmp_path):
    task = make()
    losses = iter([math.nan, 5.0, math.inf])
    task.validate = lambda: {"loss": next(losses)}
    assert fit(task, settings(), tmp_path / "a").best == {"step": 8, "loss": 5.0}
    task = make()
    task.validate = lambda: {"loss": math.nan}
    with pytest.raises(DataError, match="no validation had a finite loss"):
        fit(task, settings(), tmp_path / "b")
    assert not (tmp_path / "b" / "weights.safetensors").exists()


def test_the_hours_end_a_run_cleanly_and_more_of_them_go_on(make, tmp_path):
    short = settings(steps=2000, max_hours=0.3 / 3600, warmup_steps=0, validate_every=5000)
    first = fit(make(seconds_per_step=0.02), short, tmp_path)
    assert first.stopped_by == "time"
    assert 0 < first.steps < 30
    assert first.best["step"] == first.steps
    assert read_checkpoint(tmp_path / "checkpoint.safetensors").counters.step == first.steps
    again = fit(make(seconds_per_step=0.02), short, tmp_path)
    assert again.steps == first.steps
    longer = short.model_copy(update={"max_hours": None, "steps": first.steps + 2})
    assert fit(make(seconds_per_step=0.02), longer, tmp_path).steps == first.steps + 2


def test_a_run_that_is_done_is_not_done_again(make, tmp_path):
    fit(make(), settings(), tmp_path)
    again = make()
    result = fit(again, settings(), tmp_path)
    assert again.steps == []
    assert result.steps == 12


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"learning_rate": 0.02}, "fit.learning_rate = 0.01, now it is 0.02"),
        ({"averaging": 0.0}, "fit.averaging = 0.8, now it is 0.0"),
        ({"seed": 3}, "fit.seed = 0, now it is 3"),
    ],
)
def test_other_settings_are_refused_on_resumption(make, tmp_path, changed, said):
    fit(make(), settings(), tmp_path / "run")
    with pytest.raises(UsageError, match=said) as caught:
        fit(make(), settings(**changed), tmp_path / "run")
    assert str(caught.value).startswith("run: this run began with")
    assert "--restart" in str(caught.value)


def test_another_task_is_refused_on_resumption(make, tmp_path):
    fit(make(), settings(), tmp_path)
    with pytest.raises(UsageError, match=r"settings.scale = 1.0, now it is 2.0"):
        fit(make(scale=2), settings(), tmp_path)
    with pytest.raises(UsageError, match=r"architecture.width = 4, now it is 6 \(1 more differ\)"):
        fit(make(width=6), settings(), tmp_path)


def test_steps_and_intervals_may_change_on_resumption(make, tmp_path):
    fit(make(), settings(), tmp_path)
    longer = settings(steps=14, validate_every=7, checkpoint_every=2, max_hours=1.0)
    assert fit(make(), longer, tmp_path).steps == 14


def test_restart_begins_anew(make, tmp_path):
    fit(make(scale=3), settings(), tmp_path / "a")
    fit(make(), settings(), tmp_path / "a", restart=True, command="c")
    fit(make(), settings(), tmp_path / "b", command="c")
    assert lines(tmp_path / "a") == lines(tmp_path / "b")
    assert without_seconds(tmp_path / "a") == without_seconds(tmp_path / "b")


def test_weights_without_their_checkpoint_are_not_overwritten(make, tmp_path):
    fit(make(), settings(), tmp_path)
    before = (tmp_path / "weights.safetensors").read_bytes()
    (tmp_path / "checkpoint.safetensors").unlink()
    with pytest.raises(UsageError, match="to go on from; choose another"):
        fit(make(), settings(), tmp_path)
    assert (tmp_path / "weights.safetensors").read_bytes() == before


def test_two_runs_do_not_share_a_folder(make, tmp_path):
    with (
        open_curves(tmp_path / "curves.jsonl"),
        pytest.raises(DataError, match="another training run is writing"),
    ):
        fit(make(), settings(), tmp_path)


def test_weights_that_were_lost_are_written_again(make, tmp_path):
    first = fit(make(), settings(), tmp_path)
    kept = load_weights(first.weights, method="toy").state
    first.weights.unlink()
    again = fit(make(), settings(), tmp_path)
    assert same(load_weights(again.weights, method="toy").state, kept)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_a_damaged_checkpoint_is_one_line(make, tmp_path, part):
    fit(make(), settings(), tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(DataError, match=r"checkpoint\.safetensors: is .*truncated") as caught:
        fit(make(), settings(), tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rest", ['{"step": 9, "lo', '{"step": 6, "loss": 1}', "[6]\n", "6\n"])
def test_a_line_that_was_cut_off_is_dropped(make, tmp_path, rest):
    with pytest.raises(Interrupted):
        fit(make(), settings(), tmp_path / "a", progress=interrupted_at(7))
    path = tmp_path / "a" / "curves.jsonl"
    whole = path.read_text().splitlines(keepends=True)
    path.write_text("".join(whole[:-1]) + rest)
    fit(make(), settings(), tmp_path / "a")
    fit(make(), settings(), tmp_path / "b")
    assert lines(tmp_path / "a") == lines(tmp_path / "b")


def test_a_validation_that_came_after_the_checkpoint_is_cut(tmp_path):
    with open_curves(tmp_path / "curves.jsonl") as curves:
        for entry in ({"step": 1}, {"step": 1, "validation": {}}, {"step": 2}):
            curves.append(entry)
        curves.append({"step": 2, "validation": {}})
        curves.append({"step": 3})
        curves.cut_after(2, {1})
        assert curves.entries() == [{"step": 1}, {"step": 1, "validation": {}}, {"step": 2}]


def test_other_threads_are_told(make, tmp_path):
    with pytest.raises(Interrupted):
        fit(make(), settings(), tmp_path, progress=interrupted_at(8))
    threads, told = torch.get_num_threads(), []
    torch.set_num_threads(threads + 1)
    fit(make(), settings(), tmp_path, tell=told.append)
    torch.set_num_threads(threads)
    assert f"after step 6 with {threads + 1} threads, not {threads}" in told[0]
    assert [line.split(":")[0] for line in told[1:]] == ["step 8 of 12", "step 12 of 12"]


def test_a_tensor_outside_the_model_is_refused(make, tmp_path):
    task = make()
    outside = torch.nn.Parameter(torch.ones(1))
    task.parameter_groups = lambda rate, decay: [{"params": [outside], "lr": rate}]
    with pytest.raises(UsageError, match="no parameter of its model"):
        fit(task, settings(), tmp_path)


def test_a_warmup_as_long_as_the_run_is_refused():
    with pytest.raises(ValueError, match="fewer than the 5 steps"):
        FitSettings(steps=5, warmup_steps=5)
