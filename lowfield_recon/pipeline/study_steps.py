"""The functions behind the steps that train, run a study and write its report."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import lowfield_recon
from lowfield_recon.configuration import read_document
from lowfield_recon.errors import DataError, UsageError, nearest_name
from lowfield_recon.evaluation.study.loading import load_study
from lowfield_recon.evaluation.study.plan import StudyPlan
from lowfield_recon.evaluation.study.running import STATE, TIMING, run_study
from lowfield_recon.evaluation.study_report import write_study_figures, write_study_report
from lowfield_recon.learning.tasks import TASKS, check_method, fit_settings, make_task
from lowfield_recon.learning.trainer import fit
from lowfield_recon.learning.training_task import TrainingTask
from lowfield_recon.learning.weight_files import load_weights, save_weights
from lowfield_recon.manifest import to_plain
from lowfield_recon.pipeline.step import StepResult
from lowfield_recon.pipeline.study_step_types import ReportSettings, StudySettings, TrainSettings
from lowfield_recon.progress import ProgressBars

_CONFIGS = Path(lowfield_recon.__file__).parent / "learning" / "configs"
_RECORD = "study.json"


def train_step(settings: TrainSettings, out: Path, progress: ProgressBars) -> StepResult:
    """Train a network, as `lowfield-recon train` does; the model card holds no times."""
    content = _configuration(settings.config, settings.settings, settings.seed)
    place = torch.device("cpu")
    method = _method_of(settings.config, settings.method)
    task = make_task(method, content, settings.images, place)
    folder = out.parent / f".{out.stem}-training"
    if settings.state is not None:
        folder = Path(settings.state) / "training" / _training_name(out.stem, task, content)
    with progress(f"train {method}", 1) as progress_of:
        result = fit(
            task, fit_settings(content), folder, device=place, progress=progress_of(0),
            restart=settings.state is None, tell=lambda _line: None,
            command=f"lowfield-recon train {method} {settings.config}",
        )  # fmt: skip
    found = load_weights(result.weights, method=method)
    save_weights(out, found.state, found.header, _without_times(found.card))
    if settings.state is None:
        shutil.rmtree(folder)
    return StepResult(outputs={"weights": out, "record": out.with_suffix(".json")})


def study_step(settings: StudySettings, out: Path, progress: ProgressBars) -> StepResult:
    """Run a study, as `lowfield-recon study` does; its folder holds no times."""
    folders = [path for path in settings.data if path.is_dir()]
    folders += dict.fromkeys(path.parent for path in (*settings.weights, *settings.data))
    setup = load_study(settings.study, folders=folders)
    folder = out if settings.state is None else Path(settings.state) / "study"
    with progress("study", 1) as progress_of:
        callback = progress_of(0)

        def tell(done: int, total: int, _what: str) -> None:
            if callback is not None:
                callback(done, total, None)

        run_study(setup, folder, workers=settings.workers, progress=tell)
    if folder == out:
        shutil.rmtree(out / STATE)
        (out / TIMING).unlink()
    else:
        shutil.copytree(folder, out, ignore=shutil.ignore_patterns(STATE, TIMING))
    return StepResult(outputs={"study": out}, notes=setup.notes)


def report_step(settings: ReportSettings, out: Path, progress: ProgressBars) -> StepResult:
    """Write the page and the figures of a study."""
    del progress
    try:
        record = json.loads((settings.study / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{settings.study.name}: its {_RECORD} cannot be read; expected the folder of a study."
        ) from error
    panels, figures = settings.study / "panels", out.parent / f"{out.stem}-figures"
    write_study_report(record, panels, out)
    figures.mkdir()
    write_study_figures(record, panels, figures)
    return StepResult(outputs={"report": out, "figures": figures})


def check_training(settings: Mapping[str, Any], _name: str) -> None:
    """Refuse a method or configuration that does not exist."""
    content = _configuration(settings["config"], settings["settings"], settings["seed"])
    check_method(_method_of(settings["config"], settings["method"]))
    fit_settings(content)


def check_study(settings: Mapping[str, Any], _name: str) -> None:
    """Refuse a file that holds no study; what it names is looked for when it runs."""
    document = read_document(settings["study"])
    document.check(document.content, StudyPlan)


def _configuration(name: str, changes: Mapping[str, Any], seed: int | None) -> dict[str, Any]:
    known = {entry.stem: entry for entry in _CONFIGS.glob("*.yaml")}
    if name not in known:
        raise UsageError(f"config '{name}': none ships. {nearest_name(name, sorted(known))}")
    content = read_document(known[name]).content
    wanted = dict(changes) if seed is None else {**changes, "fit.seed": seed}
    for key, value in wanted.items():
        *sections, last = key.split(".")
        place = content
        for section in sections:
            inner = place.setdefault(section, {})
            if not isinstance(inner, dict):
                raise UsageError(f"settings: '{key}': '{section}' of '{name}' holds no settings.")
            place = inner
        place[last] = value
    return content


def _training_name(stem: str, task: TrainingTask, content: Mapping[str, Any]) -> str:
    """Return a folder's name that other images or settings do not have."""
    described = {**task.header(), **task.card(), "fit": fit_settings(content).model_dump()}
    text = json.dumps(to_plain(described), sort_keys=True)
    return f"{stem}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _method_of(config: str, method: str | None) -> str:
    if method is not None:
        return method
    words = config.replace("_", "-") + "-"
    return max((name for name in TASKS if words.startswith(f"{name}-")), key=len, default=config)


def _without_times(card: Any) -> Any:
    if isinstance(card, Mapping):
        return {name: _without_times(value) for name, value in card.items() if name != "seconds"}
    return card
