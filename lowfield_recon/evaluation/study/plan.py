"""What a study's YAML holds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lowfield_recon.evaluation.shifts import ImageSetSettings, ScanSettings
from lowfield_recon.evaluation.shifts.image_sets import DEFAULT_SETS

_Name = Annotated[str, Field(min_length=1, max_length=60)]
_Count = Annotated[int, Field(ge=1)]


class _Strict(BaseModel):
    """Settings that refuse what they do not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ArmPlan(_Strict):
    """One method of the study."""

    name: _Name
    """Name in all tables."""

    method: str | None = None
    """Name of the method; None takes `name`."""

    label: str | None = None
    """What people call it; None for its name."""

    settings: dict[str, Any] = {}
    """Settings of the method."""

    weights: tuple[str, ...] | str = ()
    """Trained weights by name or path, one for all seeds or one for each."""

    reference: bool = False
    """Whether the others are compared with it; exactly one is."""

    note: str | None = None
    """What one should know of it."""

    search: str | None = None
    """Setting whose best value is searched for each image with the truth: an upper bound."""

    skips: tuple[str, ...] = ()
    """Axes or conditions that it cannot take."""


class HypothesisPlan(_Strict):
    """A comparison named in advance: the method loses more than the reference method."""

    method: str
    """Name of the method."""

    condition: str
    """Axis and level, e.g. `anatomy=knee`."""

    metric: str
    """The measure."""


class BootstrapPlan(_Strict):
    """How intervals are found."""

    resamples: Annotated[int, Field(ge=200, le=1_000_000)] = 2000
    """Number of bootstrap samples."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Their seed."""

    interval: Literal["expanded", "percentile"] = "expanded"
    """Percentile intervals, or those widened for few subjects."""


class ChoicePlan(_Strict):
    """Of which images and methods something costly is done."""

    conditions: tuple[str, ...] | None = None
    """Names of conditions; None for the reference and the last level of each axis."""

    images: _Count = 1
    """First images of each domain."""

    seeds: _Count = 1
    """First seeds."""

    methods: tuple[str, ...] | None = None
    """Names of methods; None for all."""


class CheckPlan(ChoicePlan):
    """Checks for hallucinations."""

    radius: Annotated[float, Field(gt=0, le=100)] = 0.1
    """Size of the worst perturbation of the data, over the expected norm of its noise."""

    steps: Annotated[int, Field(ge=3)] = 8
    """Steps of the search for it."""


class UncertaintyPlan(ChoicePlan):
    """Uncertainty per pixel."""

    draws: Annotated[int, Field(ge=2)] = 8
    """Reconstructions per map, and as many for its bias."""

    varied: Literal["noise", "seed", "both"] = "noise"
    """What differs between them."""


class StudyPlan(_Strict):
    """A whole study."""

    title: str
    """Head of the report."""

    question: str
    """What it is to answer."""

    claim: str = "the reference method loses less under a shift"
    """The claim on the reference method that the verdict judges."""

    methods: Annotated[tuple[ArmPlan, ...], Field(min_length=1)]
    """The methods."""

    images: Annotated[tuple[ImageSetSettings, ...], Field(min_length=1)] = DEFAULT_SETS
    """Sets of images, each a domain, the one without an axis for the reference; left out: the
    samples that ship."""

    reference: ScanSettings = Field(default_factory=ScanSettings)
    """How scans of the reference condition are made."""

    shifts: dict[str, tuple[float | str, ...] | None] = {}
    """Levels of each axis, shifted one axis at a time; null takes the axis's own."""

    combined: tuple[str, ...] = ()
    """Several shifts at once, e.g. `noise=0.2+window=0.5`."""

    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0,)
    """Seeds of masks and noise, and which of several weights."""

    metrics: Annotated[tuple[str, ...], Field(min_length=1)] = (
        "ssim", "psnr_db", "nrmse", "hfen", "blur_effect", "data_consistency", "background_std",
    )  # fmt: skip
    """Measures, the most important first."""

    hypotheses: tuple[HypothesisPlan, ...] = ()
    """At most four comparisons that are named in advance."""

    foreground: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Pixels count where the smoothed reference exceeds this part of its peak; null for all."""

    bootstrap: BootstrapPlan = BootstrapPlan()
    """How intervals are found."""

    panels: ChoicePlan | None = ChoicePlan()
    """Images for the report; null for none."""

    checks: CheckPlan | None = None
    """Checks for hallucinations; null for none."""

    uncertainty: UncertaintyPlan | None = None
    """Uncertainty per pixel; null for none."""
