"""From a study's YAML to a study that is ready to run; every mistake is found here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from glob import has_magic
from pathlib import Path
from typing import Any

from lowfield_recon.configuration import Document, read_document
from lowfield_recon.errors import LowfieldReconError, UsageError
from lowfield_recon.evaluation.shifts import (
    Condition,
    StudyImages,
    assumptions,
    load_study_images,
)
from lowfield_recon.evaluation.study.arms import Arm
from lowfield_recon.evaluation.study.cases import (
    condition_info,
    describe_axes,
    make_cases,
    plan_conditions,
)
from lowfield_recon.evaluation.study.plan import ArmPlan, ChoicePlan, StudyPlan
from lowfield_recon.evaluation.study.scoring import Scoring
from lowfield_recon.evaluation.study.setup import (
    CheckSettings,
    Choice,
    StudySetup,
    UncertaintySettings,
)
from lowfield_recon.evaluation.study.verdict import Hypothesis
from lowfield_recon.learning.weight_files import SUFFIX
from lowfield_recon.manifest import to_plain
from lowfield_recon.resources import find_plan, sample_names

_FILE_SUFFIXES = (SUFFIX, ".npy", ".pt")


def find_study(name: str) -> Path:
    """Return the YAML of a study.

    Parameters
    ----------
    name
        Path of a YAML file, or the name of one that ships.

    Returns
    -------
        Its path.

    Raises
    ------
    UsageError
        If no study of that name ships.
    DataError
        If there is no such file.

    Examples
    --------
    >>> find_study("study_small").name
    'study_small.yaml'
    """
    return find_plan(name, "study", "study_*.yaml")


def load_study(path: Path, *, folders: Sequence[Path] = ()) -> StudySetup:
    """Read a study, and load its images.

    Parameters
    ----------
    path
        The YAML. Files that it names lie relative to its own folder.
    folders
        Where else they may lie; these come first.

    Returns
    -------
        The study, ready to run.

    Raises
    ------
    UsageError
        If anything in it does not exist or fit; names file and line.
    DataError
        If an image is missing or cannot be read.
    """
    document = read_document(path)
    plan = document.check(document.content, StudyPlan)
    places = (*folders, path.parent)
    arms = tuple(_arm(entry, index, document, places) for index, entry in enumerate(plan.methods))
    reference = _reference(plan, document)
    domains = [(entry.domain, entry.axis) for entry in plan.images if entry.axis is not None]
    conditions = plan_conditions(plan, domains, document)
    images = _images(plan, document, places)
    infos = tuple(condition_info(entry) for entry in conditions)
    try:
        return StudySetup(
            title=plan.title,
            question=plan.question,
            claim=plan.claim,
            arms=arms,
            reference_method=reference,
            conditions=infos,
            axes=describe_axes(conditions, plan),
            cases=tuple(make_cases(images, conditions, plan.seeds)),
            seeds=plan.seeds,
            metrics=plan.metrics,
            hypotheses=tuple(Hypothesis(**entry.model_dump()) for entry in plan.hypotheses),
            scoring=Scoring(foreground=plan.foreground),
            resamples=plan.bootstrap.resamples,
            bootstrap_seed=plan.bootstrap.seed,
            interval=plan.bootstrap.interval,
            panels=_choice(plan.panels, conditions),
            checks=_checks(plan, conditions),
            uncertainty=_uncertainty(plan, conditions),
            settings=_record(plan, images),
            notes=_notes(images, conditions),
        )
    except UsageError as error:
        raise UsageError(f"{path.name}: {error}") from error


def _arm(plan: ArmPlan, index: int, document: Document, places: Sequence[Path]) -> Arm:
    weights = (plan.weights,) if isinstance(plan.weights, str) else plan.weights
    location = ("methods", index)
    found = tuple(_file(name, document.place(*location, "weights"), places) for name in weights)
    settings = dict(plan.settings)
    for name in ("weights", "dictionary"):
        if isinstance(settings.get(name), str):
            place = document.place(*location, "settings", name)
            settings[name] = _file(settings[name], place, places)
    return Arm(
        name=plan.name,
        method=plan.name if plan.method is None else plan.method,
        settings=settings,
        weights=found,
        label=plan.label,
        note=plan.note,
        search=plan.search,
        skips=plan.skips,
    )


def _file(name: str, place: str, places: Sequence[Path]) -> str:
    """Return a path for a file's name, and other names as they are."""
    if Path(name).suffix not in _FILE_SUFFIXES:
        return name
    for folder in places:
        if (folder / name).is_file():
            return str(folder / name)
    raise UsageError(f"{place}: {name}: no such file; expected it in {places[0].name or '.'}.")


def _reference(plan: StudyPlan, document: Document) -> str:
    names = [entry.name for entry in plan.methods if entry.reference]
    if len(names) != 1:
        raise UsageError(
            f"{document.place('methods')}: {len(names)} methods have 'reference: true'; expected "
            "one, with which the others are compared."
        )
    return names[0]


def _images(plan: StudyPlan, document: Document, places: Sequence[Path]) -> StudyImages:
    sets = [
        entry.model_copy(update={"images": tuple(_located(word, places) for word in entry.images)})
        for entry in plan.images
    ]
    try:
        return load_study_images(sets)
    except LowfieldReconError as error:
        raise type(error)(f"{document.place('images')}: {error}") from error


def _located(word: str, places: Sequence[Path]) -> str:
    """Return where the files of a word lie: in the first folder that has some."""
    path = Path(word).expanduser()
    for folder in places:
        found = folder / path
        if found.exists() or (has_magic(word) and any(_matches(found))):
            return str(found)
    return word if word in sample_names() else str(places[0] / path)


def _matches(pattern: Path) -> Iterator[Path]:
    """Yield the files that a pattern with `*`, `?` or `**` names."""
    parts = pattern.parts
    fixed = next(index for index, part in enumerate(parts) if has_magic(part))
    return Path(*parts[:fixed]).glob(str(Path(*parts[fixed:])))


def _choice(plan: ChoicePlan | None, conditions: Sequence[Condition]) -> Choice | None:
    if plan is None:
        return None
    last = {entry.axis: entry.name for entry in conditions}
    return Choice(
        conditions=tuple(last.values()) if plan.conditions is None else plan.conditions,
        images=plan.images,
        seeds=plan.seeds,
        methods=plan.methods,
    )


def _checks(plan: StudyPlan, conditions: Sequence[Condition]) -> CheckSettings | None:
    chosen = _choice(plan.checks, conditions)
    if plan.checks is None or chosen is None:
        return None
    return CheckSettings(chosen=chosen, radius=plan.checks.radius, steps=plan.checks.steps)


def _uncertainty(plan: StudyPlan, conditions: Sequence[Condition]) -> UncertaintySettings | None:
    chosen = _choice(plan.uncertainty, conditions)
    if plan.uncertainty is None or chosen is None:
        return None
    return UncertaintySettings(
        chosen=chosen, draws=plan.uncertainty.draws, varied=plan.uncertainty.varied
    )


def _record(plan: StudyPlan, images: StudyImages) -> dict[str, Any]:
    """Return the plan without what the record says elsewhere, and without places of files."""
    left_out = {"title", "question", "methods", "images"}
    settings = plan.model_dump(mode="json", exclude=left_out)
    return dict(to_plain({**settings, "images": images.sources}))


def _notes(images: StudyImages, conditions: Sequence[Condition]) -> tuple[str, ...]:
    """Collect what is not as the conditions state, each sentence once."""
    sentences = {
        sentence: None
        for condition in conditions
        for image in images.of(condition)
        for sentence in assumptions(image, condition)
    }
    return tuple(sentences)
