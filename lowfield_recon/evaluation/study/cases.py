"""An image in a condition with a seed, and the conditions that a plan names."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lowfield_recon.configuration import Document
from lowfield_recon.errors import UsageError, nearest_name
from lowfield_recon.evaluation.shifts import (
    AXES,
    Condition,
    ScanSettings,
    StudyImage,
    StudyImages,
    axis_conditions,
    condition_from,
    make_problem,
    reference_condition,
)
from lowfield_recon.evaluation.shifts.axes import IMAGE_AXES
from lowfield_recon.evaluation.study.plan import StudyPlan
from lowfield_recon.evaluation.study.records import ConditionInfo
from lowfield_recon.problem import InverseProblem


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShiftedCase:
    """An image in a condition with a seed."""

    study_image: StudyImage
    """The object or recorded scan."""

    shift: Condition
    """How it is scanned."""

    seed: int
    """Seed of masks and noise."""

    image: str
    """Name of the image in the study."""

    identity: str
    """Hash of pixels, names and all settings of the condition."""

    @property
    def condition(self) -> str:
        """Name of the condition."""
        return self.shift.name

    @property
    def subject(self) -> str:
        """Whose image it is."""
        return self.study_image.subject

    @property
    def domain(self) -> str:
        """Which set of images it belongs to."""
        return self.study_image.domain

    @property
    def is_recorded(self) -> bool:
        """Whether a scanner recorded it."""
        return self.study_image.is_recorded

    def build(self) -> InverseProblem:
        """Scan the image.

        Returns
        -------
            The problem with its reference.
        """
        return make_problem(self.study_image, self.shift, seed=self.seed)


def plan_conditions(
    plan: StudyPlan, domains: Sequence[tuple[str, str]], document: Document
) -> tuple[Condition, ...]:
    """Make the conditions that a plan names.

    Parameters
    ----------
    plan
        The plan.
    domains
        Domains of other images, and the axis that each belongs to.
    document
        Its YAML.

    Returns
    -------
        The reference first, then axis by axis, then those of several shifts.

    Raises
    ------
    UsageError
        If an axis, a level or a domain does not exist; names file and line.
    """
    found = [reference_condition(plan.reference)]
    for name, levels in plan.shifts.items():
        if name in IMAGE_AXES and levels is None:
            levels = tuple(domain for domain, axis in domains if axis == name)
        place = document.place("shifts", name)
        found += _placed(place, axis_conditions, name, levels, plan.reference)
    for index, text in enumerate(plan.combined):
        place = document.place("combined", index)
        found += _placed(place, _combined, text, None, plan.reference)
    names = [entry.name for entry in found]
    for entry in found:
        place = document.place("shifts", entry.axis)
        if names.count(entry.name) > 1:
            raise UsageError(
                f"{place}: '{entry.name}' is there twice; name each condition once, and the "
                "reference not at all."
            )
        _check_domain(entry, domains, place)
    return tuple(found)


def condition_info(condition: Condition) -> ConditionInfo:
    """Return what the statistics must know of a condition.

    Parameters
    ----------
    condition
        The condition.

    Returns
    -------
        The record; its level in words.

    Examples
    --------
    >>> condition_info(reference_condition()).level
    ''
    """
    number = condition.numeric_level
    return ConditionInfo(
        name=condition.name,
        axis=condition.axis,
        level=str(condition.level) if number is None else f"{number:g}",
        title=condition.title,
        unit=condition.unit,
        numeric_level=number,
        is_reference=condition.is_reference,
        is_paired=condition.is_paired,
    )


def describe_axes(conditions: Sequence[Condition], plan: StudyPlan) -> tuple[dict[str, Any], ...]:
    """Describe the axes along which a study shifts.

    Parameters
    ----------
    conditions
        Its conditions.
    plan
        Its plan.

    Returns
    -------
        Name, title, unit, note and level of the reference condition of each axis.
    """
    names = dict.fromkeys(name for entry in conditions for name, _ in entry.levels)
    described = []
    for name in names:
        axis = AXES[name]
        level = None if axis.setting is None else getattr(plan.reference, axis.setting)
        described.append(
            {
                "name": name,
                "title": axis.title,
                "unit": axis.unit,
                "note": axis.note,
                "reference_level": level,
                "trained": list(axis.trained) if axis.trained is not None else None,
            }
        )
    return tuple(described)


def make_cases(
    images: StudyImages, conditions: Sequence[Condition], seeds: Sequence[int]
) -> Iterator[ShiftedCase]:
    """Put every image of its domain into every condition, with every seed.

    Parameters
    ----------
    images
        All images.
    conditions
        The conditions.
    seeds
        The seeds.

    Yields
    ------
        Cases by condition, image and seed.
    """
    names = [image.name for image in images.images]
    hashes = {(image.domain, image.name): image.identity for image in images.images}
    for condition in conditions:
        for image in images.of(condition):
            is_unique = names.count(image.name) == 1
            name = image.name if is_unique else f"{image.domain}: {image.name}"
            own = hashes[image.domain, image.name]
            words = (own, condition.settings.model_dump(), condition.name)
            identity = hashlib.sha256(repr(words).encode()).hexdigest()
            for seed in seeds:
                yield ShiftedCase(
                    study_image=image, shift=condition, seed=seed, image=name, identity=identity
                )


_Levels = Sequence[float | str] | None


def _combined(text: str, _levels: _Levels, *, base: ScanSettings) -> list[Condition]:
    return [condition_from(text, base=base)]


def _placed(
    place: str,
    make: Callable[..., list[Condition]],
    name: str,
    levels: _Levels,
    base: ScanSettings,
) -> list[Condition]:
    """Name the line of what cannot be made."""
    try:
        return make(name, levels, base=base)
    except UsageError as error:
        raise UsageError(f"{place}: {error}") from error


def _check_domain(condition: Condition, domains: Sequence[tuple[str, str]], place: str) -> None:
    if condition.domain is None:
        return
    (axis,) = (name for name, _ in condition.levels if name in IMAGE_AXES)
    known = [domain for domain, own in domains if own == axis]
    if condition.domain not in known:
        raise UsageError(
            f"{place}: '{condition.name}': there are no images of '{condition.domain}' with the "
            f"axis '{axis}'. {nearest_name(condition.domain, known)}"
        )
