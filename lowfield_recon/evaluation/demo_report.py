"""The demonstration's outcomes as a report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy
import yaml
from numpy.typing import NDArray

from lowfield_recon.evaluation.demo import ExperimentOutcome, MethodOutcome, magnitude
from lowfield_recon.evaluation.demo_plan import DemoPlan
from lowfield_recon.evaluation.map_panels import map_gallery
from lowfield_recon.evaluation.metrics import blur_effect
from lowfield_recon.evaluation.report import Panel, Report, Row, Section, Source, Table
from lowfield_recon.manifest import software_versions
from lowfield_recon.resources import shipped_folder

Magnitudes: TypeAlias = NDArray[numpy.float64]

_WHITE_QUANTILE = 0.999
_ABOUT_WEIGHTS = (
    "w is the weight in ½‖Ax − y‖² + w·R(x), chosen by each method's rule; 'maps': a network "
    "chose one for each filter and pixel."
)


def build_report(
    plan: DemoPlan,
    outcomes: Sequence[ExperimentOutcome],
    *,
    seconds: float,
) -> Report:
    """Arrange outcomes for the page.

    Parameters
    ----------
    plan
        What was asked for.
    outcomes
        What came out.
    seconds
        Wall time of everything [s].

    Returns
    -------
        Report for `write_report`.
    """
    device = outcomes[0].methods[0].results[0].settings["device"]
    versions = ", ".join(f"{name} {number}" for name, number in software_versions().items())
    return Report(
        title=plan.title,
        summary=plan.summary,
        sections=tuple(_section(outcome) for outcome in outcomes),
        sources=_sources(outcomes),
        facts=(
            ("Command", "lowfield-recon demo"),
            ("Computed on", f"{device}, one thread, {seconds:.0f} s in all"),
            ("Versions", versions),
        ),
    )


def _sources(outcomes: Sequence[ExperimentOutcome]) -> tuple[Source, ...]:
    """Find the provenance of the samples that were used, each once, in their data manifest."""
    text = (shipped_folder("data_manifests") / "samples.yaml").read_text(encoding="utf-8")
    entries = {entry["name"]: entry for entry in yaml.safe_load(text)["files"]}
    names = dict.fromkeys(outcome.plan.sample for outcome in outcomes)
    return tuple(
        Source(
            name=name,
            text=entries[name]["contents"],
            licence=entries[name]["license"],
            address=entries[name]["source"]["repository"],
            citation=entries[name].get("citation", ""),
            assumptions=tuple(entries[name].get("assumptions", ())),
        )
        for name in names
    )


def _section(outcome: ExperimentOutcome) -> Section:
    middle = len(outcome.slices) // 2
    others = [i for i in range(len(outcome.slices)) if i != middle]
    row = _row(outcome, middle)
    return Section(
        title=outcome.plan.title,
        text=outcome.plan.text,
        row=row,
        more_rows=tuple(_row(outcome, i) for i in others),
        table=_scored_table(outcome) if outcome.methods[0].scores else _unscored_table(outcome),
        facts=_facts(outcome),
        gallery=map_gallery(
            outcome.methods,
            middle,
            aspect=row.aspect,
            quarter_turns=outcome.plan.quarter_turns,
        ),
    )


def _row(outcome: ExperimentOutcome, i: int) -> Row:
    problem = outcome.problems[i]
    plane = outcome.slices[i] + 1
    turns = outcome.plan.quarter_turns

    def turned(values: Magnitudes) -> Magnitudes:
        return numpy.rot90(values, turns)

    images = [magnitude(done.results[i].image) for done in outcome.methods]
    panels = []
    if problem.reference is not None:
        compared = magnitude(problem.reference)
        panels.append(
            Panel(
                title="all data",
                caption="reference, itself noisy",
                image=turned(compared),
                description=f"Slice {plane}, reconstructed from all data",
            )
        )
    else:
        compared = images[0]
    for done, image in zip(outcome.methods, images, strict=True):
        panels.append(
            Panel(
                title=done.label,
                caption=_caption(done, i),
                image=turned(image),
                difference=None if image is compared else turned(numpy.abs(image - compared)),
                description=f"{outcome.plan.title}, slice {plane}, with {done.label}",
            )
        )
    return Row(
        label=f"Slice {plane}{', turned for display' if turns else ''}.",
        panels=tuple(panels),
        white=float(numpy.quantile(compared, _WHITE_QUANTILE)),
        gain=outcome.plan.difference_gain,
        aspect=_aspect(outcome, compared),
    )


def _caption(done: MethodOutcome, i: int) -> str:
    if not done.scores:
        return f"{done.results[i].seconds:.2g} s"
    scores = done.scores[i]
    return f"{scores.psnr_db:.1f} dB, SSIM {scores.ssim:.3f}"


def _aspect(outcome: ExperimentOutcome, image: NDArray[Any]) -> float:
    geometry = outcome.problems[0].geometry
    height, width = image.shape
    _, dy, dx = (1.0, 1.0, 1.0) if geometry is None else geometry.voxel_size_m
    aspect = float(width * dx / (height * dy))
    return 1 / aspect if outcome.plan.quarter_turns % 2 else aspect


def _scored_table(outcome: ExperimentOutcome) -> Table:
    rows = []
    for done in outcome.methods:
        means = {
            name: numpy.mean([getattr(scores, name) for scores in done.scores])
            for name in ("psnr_db", "ssim", "nrmse", "hfen", "blur_effect")
        }
        rows.append(
            (
                done.label,
                f"{means['psnr_db']:.2f}",
                f"{means['ssim']:.4f}",
                f"{means['nrmse']:.4f}",
                f"{means['hfen']:.4f}",
                f"{means['blur_effect']:.3f}",
                _weight(done),
                f"{done.seconds:.2f}",
            )
        )
    return Table(
        caption=f"Means over {_count(outcome)}, inside the head, against the fully sampled, itself "
        "noisy image. PSNR and SSIM refer to its largest magnitude; NRMSE and HFEN are relative to "
        f"its energy. {_ABOUT_WEIGHTS}",
        columns=(
            "Method",
            "PSNR [dB]",
            "SSIM",
            "NRMSE",
            "HFEN",
            "Blur effect",
            "w",
            "Seconds",
        ),
        rows=tuple(rows),
    )


def _unscored_table(outcome: ExperimentOutcome) -> Table:
    first = outcome.methods[0]
    rows = []
    for done in outcome.methods:
        removed = [
            _removed(result.image - plain.image, problem.noise_std)
            for result, plain, problem in zip(
                done.results, first.results, outcome.problems, strict=True
            )
        ]
        blur = numpy.mean([blur_effect(result.image[0, 0]) for result in done.results])
        rows.append(
            (
                done.label,
                _or_dash(removed),
                f"{blur:.3f}",
                _weight(done),
                f"{done.seconds:.2f}",
            )
        )
    return Table(
        caption=f"Means over {_count(outcome)}. 'Taken away' is the root mean square of the "
        f"difference from {first.label}, in units of the noise's standard deviation as estimated "
        f"from the data: 1 means as much as there is noise. {_ABOUT_WEIGHTS}",
        columns=("Method", "Taken away", "Blur effect", "w", "Seconds"),
        rows=tuple(rows),
    )


def _removed(difference: Any, noise_std: float | None) -> float | None:
    if not noise_std:
        return None
    return float(difference.abs().square().mean().sqrt()) / noise_std


def _or_dash(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return f"{numpy.mean(known):.2f}" if known else "–"


def _weight(done: MethodOutcome) -> str:
    if "mean_map" in done.results[0].diagnostics:
        return "maps"
    weights = [result.settings.get("regularization_weight") for result in done.results]
    known = [float(weight) for weight in weights if isinstance(weight, int | float)]
    if not known:
        return "–"
    low, high = min(known), max(known)
    return f"{low:.3g}" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} to {high:.3g}"


def _count(outcome: ExperimentOutcome) -> str:
    count = len(outcome.slices)
    return "1 slice" if count == 1 else f"{count} slices"


def _facts(outcome: ExperimentOutcome) -> tuple[tuple[str, str], ...]:
    header = outcome.scan.header
    field = "not stated" if header.field_strength_t is None else f"{header.field_strength_t:g} T"
    plan = outcome.plan.undersampling
    facts = [
        ("Scan", f"{outcome.plan.sample}, {header.n_coils} coils, {field}, {header.trajectory}"),
        (
            "Left out",
            "nothing"
            if plan is None
            else f"all but 1 in {plan.acceleration:g} lines ({plan.kind}, seed {plan.seed}), "
            f"{plan.calibration_lines} central lines kept",
        ),
    ]
    noise = [p.noise_std for p in outcome.problems if p.noise_std is not None]
    if noise:
        facts.append(
            ("Noise", f"standard deviation {min(noise):.3g} to {max(noise):.3g} (complex)")
        )
    for done in outcome.methods:
        settings = ", ".join(f"{name} {_short(v)}" for name, v in done.results[0].settings.items())
        facts.append((done.label, settings or "no settings"))
    facts += [("Assumed", text) for text in outcome.scan.assumptions]
    facts += [("Repaired", repair.message) for repair in outcome.scan.repairs]
    return tuple(facts)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
