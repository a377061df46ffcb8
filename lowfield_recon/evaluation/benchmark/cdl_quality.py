"""`benchmark cdl-quality`: image quality of `cdl-lambda` beside other methods, with intervals."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lowfield_recon.dictionaries import Dictionary
from lowfield_recon.errors import DataError, LowfieldReconError, UsageError
from lowfield_recon.evaluation.benchmark import BenchmarkOptions, BenchmarkOutcome, StepCallback
from lowfield_recon.evaluation.benchmark.environment import describe_environment
from lowfield_recon.evaluation.benchmark.quality_dictionaries import select_dictionaries
from lowfield_recon.evaluation.benchmark.quality_figure import Panel, write_comparison
from lowfield_recon.evaluation.benchmark.quality_gathering import gather_scans
from lowfield_recon.evaluation.benchmark.quality_methods import (
    Image,
    Unit,
    quality_units,
    reference_of,
    refusal,
    solve,
)
from lowfield_recon.evaluation.benchmark.quality_scans import QualityScan, ScanPlan
from lowfield_recon.evaluation.benchmark.quality_table import (
    ScoredScan,
    conclusions,
    quality_markdown,
    summarise,
)
from lowfield_recon.evaluation.benchmark.quality_weights import (
    METHOD,
    WeightsChoice,
    choose_weights,
)
from lowfield_recon.evaluation.benchmark.results_file import ResultsFile, result_key
from lowfield_recon.evaluation.demo import one_thread
from lowfield_recon.files import atomic_path

NAME = "cdl-quality"
DEFAULT_DICTIONARY = "brain_K32_k9_lam2_beta0.5"
PROTOCOL = (
    "Single-coil 2-D scans of a central window of k-space. Simulated scans: an image with a "
    "smooth random phase, white noise; 'snr' is the mean modulus of the object over the noise of "
    "one pixel of a full acquisition. Recorded scans: a window of a complete scan, noise added "
    "until it is so many times its own ('noise x'); the reference is reconstructed from all of the "
    "scan less a part of the same noise, so that its noise is independent of that of the data: it "
    "lowers all scores and rewards nobody. The shipped recorded scans show one patient, whose "
    "images at 3 T are among those that the 'brain' dictionaries were learnt from. "
    "PSNR and SSIM (7 x 7 windows), of simulated scans on magnitudes, of recorded ones on the real "
    "part after the phase of the smoothed reference is taken off (a noisy magnitude has a floor, "
    "which would reward what leaves noise); data range = maximum of the reference, means "
    "over subjects (files, of recorded scans); 'head' counts pixels where the smoothed reference "
    "exceeds a tenth of its peak. Differences are paired and over the whole image, with 95 % "
    "bootstrap intervals over subjects. Every method knows the noise level. 'cdl' takes its weight "
    "by its rule. 'best scalar' is cdl with the best weight for each image, found WITH the truth, "
    "once for PSNR and once for SSIM: an upper bound that no method without the truth can use. "
    "Only it and the scores see the truth. All of one dictionary; one thread."
)

_SMALL = ScanPlan(snrs=(12.0,), noise_factors=(2.0,), crop=48)
_SMALL_ITERATIONS, _SMALL_SEARCH = 12, 6


def run(
    options: BenchmarkOptions, folder: Path, progress: StepCallback | None = None
) -> BenchmarkOutcome:
    """Score zero-filling, `tv`, `cdl`, the best scalar weight, and `cdl-lambda`.

    Parameters
    ----------
    options
        Size, images, slices, weights (the first are `ours`), one dictionary and the seed count.
    folder
        Existing folder for `benchmark_cdl-quality.json`, `.md`, `_results.json` (what an
        interrupted run goes on from) and one PNG per window.
    progress
        Told when a step begins.

    Returns
    -------
        Table and files.

    Raises
    ------
    UsageError
        If weights or dictionary do not exist.
    DataError
        If an image cannot be used.
    """
    if options.size not in ("full", "small"):
        raise UsageError(f"size: expected full or small, got '{options.size}'.")
    is_small = options.size == "small"
    start = time.perf_counter()
    weights, left_out = choose_weights(options.weights)
    dictionary = _one_dictionary(options.dictionaries)
    scans = gather_scans(options.images, _plan(options))
    units = quality_units(
        weights, dictionary, iterations=_SMALL_ITERATIONS if is_small else None,
        search_iterations=_SMALL_SEARCH if is_small else 30,
    )  # fmt: skip
    results = ResultsFile(folder / f"benchmark_{NAME}_results.json")
    shown = _examples(scans)
    images: dict[tuple[str, str], Image] = {}
    with one_thread():
        scored = _score_all(scans, units, results, images, shown, progress)
        pictures = [_draw(folder, entry, units, images) for entry in scored if entry.scan in shown]
    ours = weights[0].label
    summaries = summarise(scored, [row for unit in units for row in unit.rows], ours)
    report = {
        "schema": "lowfield-recon benchmark cdl-quality, version 1",
        "size": options.size,
        "seed": options.seed,
        "protocol": PROTOCOL,
        "environment": describe_environment(),
        "seconds": time.perf_counter() - start,
        "results_of_an_earlier_run": results.n_found,
        "dictionary": {"name": dictionary.name, "sha256": dictionary.sha256()},
        "weights": [{"name": w.label, "network": w.network, "sha256": w.sha256} for w in weights],
        "left_out": list(left_out),
        "ours": ours,
        "summaries": summaries,
        "conclusions": conclusions(summaries, weights),
        "pictures": pictures,
        "scans": [_describe(entry) for entry in scored],
    }
    return _write(folder, report, weights)


def _plan(options: BenchmarkOptions) -> ScanPlan:
    if options.size == "small":
        return ScanPlan(
            snrs=_SMALL.snrs, noise_factors=_SMALL.noise_factors, crop=_SMALL.crop,
            slices=options.slices, seed=options.seed,
        )  # fmt: skip
    return ScanPlan(slices=options.slices, seed=options.seed)


def _one_dictionary(patterns: Sequence[str]) -> Dictionary:
    found = select_dictionaries(patterns or (DEFAULT_DICTIONARY,))
    if len(found) > 1:
        raise UsageError(
            f"dictionaries: {', '.join(patterns)} fits {len(found)}, e.g. '{found[0].name}' and "
            f"'{found[1].name}'; {NAME} takes one. 'dictionary-swap' compares them."
        )
    return found[0]


def _examples(scans: Sequence[QualityScan]) -> list[QualityScan]:
    """Choose one scan per window for the pictures: simulated if any is, of middle noise level."""
    kind = scans[0].kind
    chosen = []
    for window in dict.fromkeys(scan.window for scan in scans):
        fitting = [s for s in scans if s.window == window and s.kind == kind]
        levels = sorted({scan.level for scan in fitting})
        chosen.append(next(s for s in fitting if s.level == levels[len(levels) // 2]))
    return chosen


def _score_all(
    scans: Sequence[QualityScan],
    units: Sequence[Unit],
    results: ResultsFile,
    images: dict[tuple[str, str], Image],
    shown: Sequence[QualityScan],
    progress: StepCallback | None,
) -> list[ScoredScan]:
    """Score every scan with every method, taking over what an earlier run found."""
    scored = []
    total = len(scans) * len(units)
    for i, scan in enumerate(scans):
        records: dict[str, Any] = {}
        problem = None
        for j, unit in enumerate(units):
            if progress is not None:
                progress(i * len(units) + j, total, f"{scan.image}, {scan.setting}: {unit.name}")
            key = result_key(scan.identity, *unit.identity)
            found = results.find(key)
            if found is None:
                problem = problem or scan.build()
                try:
                    solved = unit.solve(problem, scan.view)
                except LowfieldReconError as error:
                    if unit.method != METHOD:
                        raise
                    found = {row: refusal(error) for row in unit.rows}
                else:
                    found = {row: solved[row].record for row in unit.rows}
                    if scan in shown:
                        images |= {(scan.identity, row): solved[row].image for row in unit.rows}
                results.store(key, found)
            records |= found
        scored.append(ScoredScan(scan=scan, records=records))
    return scored


def _draw(
    folder: Path,
    entry: ScoredScan,
    units: Sequence[Unit],
    images: dict[tuple[str, str], Image],
) -> str:
    """Draw one example; images of an earlier run are computed again."""
    problem = entry.scan.build()
    panels = []
    for unit in units:
        for row in unit.rows:
            record = entry.records[row]
            if "refused" in record:
                continue
            image = images.get((entry.scan.identity, row))
            if image is None:
                settings = dict(unit.settings)
                if len(unit.rows) > 1:
                    settings["regularization_weight"] = record["regularization_weight"]
                image = solve(problem, unit.method, settings, entry.scan.view).image
            caption = f"{record['psnr_db']:.2f} dB, SSIM {record['ssim']:.3f}"
            panels.append(Panel(title=row, caption=caption, image=image))
    path = folder / f"benchmark_{NAME}_window-{entry.scan.window:g}.png"
    title = f"{entry.scan.kind} scan, {entry.scan.image}, {entry.scan.setting}"
    return write_comparison(path, reference_of(problem, entry.scan.view), panels, title=title).name


def _describe(entry: ScoredScan) -> dict[str, Any]:
    scan = entry.scan
    return {
        "kind": scan.kind,
        "subject": scan.subject,
        "image": scan.image,
        "setting": scan.setting,
        "window": scan.window,
        "level": scan.level,
        "results": dict(entry.records),
    }


def _write(
    folder: Path, report: dict[str, Any], weights: Sequence[WeightsChoice]
) -> BenchmarkOutcome:
    earlier = report["results_of_an_earlier_run"]
    notes = [
        *report["conclusions"],
        *report["left_out"],
        *([f"{earlier} results were taken from an earlier run in this folder."] if earlier else []),
    ]
    table = "\n".join(
        [
            quality_markdown(report["summaries"], report["ours"]),
            "",
            *(f"- {note}" for note in notes),
            "",
            f"Ours: {weights[0].label} ({weights[0].network}). Dictionary: "
            f"{report['dictionary']['name']}. {PROTOCOL}",
            "",
        ]
    )
    json_path, markdown_path = folder / f"benchmark_{NAME}.json", folder / f"benchmark_{NAME}.md"
    try:
        text = json.dumps(report, indent=2, allow_nan=False) + "\n"
    except ValueError as error:
        raise DataError(f"{NAME}: a score is not finite ({error}); see {NAME}_results.") from error
    for path, content in ((json_path, text), (markdown_path, table)):
        with atomic_path(path) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return BenchmarkOutcome(table=table, json_path=json_path, markdown_path=markdown_path)
