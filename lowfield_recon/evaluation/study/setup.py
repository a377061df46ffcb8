"""A study that is ready to run: arms, cases, conditions and what is to be said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from lowfield_recon.errors import UsageError, nearest_name
from lowfield_recon.evaluation.study.arms import Arm, check_arms
from lowfield_recon.evaluation.study.records import ConditionInfo, find_measure
from lowfield_recon.evaluation.study.resampling import IntervalKind
from lowfield_recon.evaluation.study.scoring import Scoring, StudyCase
from lowfield_recon.evaluation.study.verdict import Hypothesis

MOST_HYPOTHESES = 4
"""More comparisons than these are not named in advance but listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Of which arms and cases something costly is done."""

    conditions: tuple[str, ...]
    """Names of the conditions."""

    images: int = 1
    """First images of each domain."""

    seeds: int = 1
    """First seeds."""

    methods: tuple[str, ...] | None = None
    """Names of the arms; None for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSettings:
    """How the checks for hallucinations are done."""

    chosen: Choice
    """Where they are done."""

    radius: float = 0.1
    """Size of the perturbation of the data, over the expected norm of its noise."""

    steps: int = 8
    """Steps of the search for the worst perturbation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UncertaintySettings:
    """How the uncertainty per pixel is found."""

    chosen: Choice
    """Where it is found."""

    draws: int = 8
    """Reconstructions per map, and as many for its bias."""

    varied: Literal["noise", "seed", "both"] = "noise"
    """What differs between them; seeds only of methods that are random in themselves."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StudySetup:
    """What is done, and what is asked of the results."""

    title: str
    """Head of the report."""

    question: str
    """What the study is to answer."""

    claim: str
    """The claim on the reference method that the verdict judges."""

    arms: tuple[Arm, ...]
    """The methods."""

    reference_method: str
    """Name of the arm that the others are compared with."""

    conditions: tuple[ConditionInfo, ...]
    """The conditions; exactly one is the reference."""

    axes: tuple[Mapping[str, Any], ...]
    """Name, title and unit of each axis."""

    cases: tuple[StudyCase, ...]
    """All images in all conditions with all seeds."""

    seeds: tuple[int, ...]
    """Seeds."""

    metrics: tuple[str, ...]
    """Measures, the most important first."""

    hypotheses: tuple[Hypothesis, ...] = ()
    """Comparisons that are named in advance."""

    scoring: Scoring = field(default_factory=Scoring)
    """Which pixels count."""

    resamples: int = 2000
    """Bootstrap samples."""

    bootstrap_seed: int = 0
    """Their seed."""

    interval: IntervalKind = "expanded"
    """Kind of the intervals."""

    panels: Choice | None = None
    """Images for the report."""

    checks: CheckSettings | None = None
    """Checks for hallucinations."""

    uncertainty: UncertaintySettings | None = None
    """Uncertainty per pixel."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """The plan, for the record."""

    notes: tuple[str, ...] = ()
    """What one should know."""

    def __post_init__(self) -> None:
        """Check that all names fit together."""
        check_arms(self.arms, self.seeds)
        arms = [arm.name for arm in self.arms]
        shifted = [entry.name for entry in self.conditions if not entry.is_reference]
        everything = [entry.name for entry in self.conditions]
        if len(everything) - len(shifted) != 1:
            raise UsageError("conditions: expected exactly one reference condition.")
        for name in everything:
            if everything.count(name) > 1:
                raise UsageError(f"shifts: '{name}' is there twice; name each condition once.")
        _check_names("reference", [self.reference_method], arms)
        for metric in self.metrics:
            find_measure(metric)
        if len(self.hypotheses) > MOST_HYPOTHESES:
            raise UsageError(
                f"hypotheses: {len(self.hypotheses)} are named; expected at most "
                f"{MOST_HYPOTHESES}, everything else is exploratory."
            )
        for entry in self.hypotheses:
            _check_names(
                "hypotheses", [entry.method], [n for n in arms if n != self.reference_method]
            )
            _check_names("hypotheses", [entry.condition], shifted)
            _check_names("hypotheses", [entry.metric], list(self.metrics))
        for what, choice in (
            ("panels", self.panels),
            ("checks", None if self.checks is None else self.checks.chosen),
            ("uncertainty", None if self.uncertainty is None else self.uncertainty.chosen),
        ):
            if choice is not None:
                _check_names(what, choice.conditions, everything)
                _check_names(what, choice.methods or (), arms)
        axes = {part for entry in self.conditions for part in entry.axis.split("+") if part}
        for arm in self.arms:
            _check_names(f"method '{arm.name}': skips", arm.skips, [*axes, *shifted])

    def is_asked(self, arm: Arm, condition: str) -> bool:
        """Say whether an arm is asked for a condition.

        Parameters
        ----------
        arm
            The arm.
        condition
            Name of the condition.

        Returns
        -------
            False where the arm skips the condition or one of its axes.
        """
        (info,) = (entry for entry in self.conditions if entry.name == condition)
        return not {condition, *info.axis.split("+")} & set(arm.skips)

    def chosen(self, choice: Choice | None) -> frozenset[tuple[str, str, str, int]]:
        """Return of which rows something costly is done.

        Parameters
        ----------
        choice
            Where it is done; None for nowhere.

        Returns
        -------
            Arm, condition, image and seed of each.
        """
        if choice is None:
            return frozenset()
        first: dict[tuple[str, str], dict[str, None]] = {}
        for case in self.cases:
            if case.condition in choice.conditions:
                first.setdefault((case.condition, case.domain), {})[case.image] = None
        return frozenset(
            (arm.name, condition, image, seed)
            for (condition, _), images in first.items()
            for image in list(images)[: choice.images]
            for seed in self.seeds[: choice.seeds]
            for arm in self.arms
            if choice.methods is None or arm.name in choice.methods
        )


def _check_names(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise UsageError(f"{what}: there is no '{name}'. {nearest_name(name, list(known))}")
