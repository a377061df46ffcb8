"""`benchmark dictionary-swap`: one set of weights with every dictionary of the bank."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lowfield_recon.dictionaries import Dictionary, load_dictionary
from lowfield_recon.errors import LowfieldReconError, UsageError
from lowfield_recon.evaluation.benchmark import BenchmarkOptions, BenchmarkOutcome, StepCallback
from lowfield_recon.evaluation.benchmark.environment import describe_environment
from lowfield_recon.evaluation.benchmark.quality_dictionaries import (
    control_dictionaries,
    dictionary_facts,
    select_dictionaries,
)
from lowfield_recon.evaluation.benchmark.quality_gathering import gather_scans
from lowfield_recon.evaluation.benchmark.quality_methods import (
    RULE,
    refusal,
    solve,
)
from lowfield_recon.evaluation.benchmark.quality_scans import QualityScan, ScanPlan
from lowfield_recon.evaluation.benchmark.quality_weights import (
    METHOD,
    WeightsChoice,
    choose_weights,
)
from lowfield_recon.evaluation.benchmark.results_file import ResultsFile, result_key
from lowfield_recon.evaluation.benchmark.swap_report import (
    SwapRow,
    spread,
    swap_markdown,
    write_swap_plot,
)
from lowfield_recon.evaluation.demo import one_thread
from lowfield_recon.files import atomic_path

NAME = "dictionary-swap"
MODEL_OF_CONTROLS = "brain_K32_k9_lam2_beta0.5"
_WINDOW, _SNR, _NOISE_FACTOR = 0.7, 12.0, 2.0
_SMALL_PATTERNS = ("brain_K16_k9_lam2_*", "cosine_k7_*")
_SMALL_ITERATIONS = 8
_KEYS = ("psnr_db", "ssim", "seconds", "fraction_of_nonzero_codes")


def run(
    options: BenchmarkOptions, folder: Path, progress: StepCallback | None = None
) -> BenchmarkOutcome:
    """Run one set of weights with many dictionaries, `cdl` by its rule beside it.

    Parameters
    ----------
    options
        Size, images, slices, one set of weights, patterns of dictionaries and the seed count.
    folder
        Existing folder for `benchmark_dictionary-swap.json`, `.md`, `.png` and `_results.json`
        (what an interrupted run goes on from).
    progress
        Told when a step begins.

    Returns
    -------
        Table and files.

    Raises
    ------
    UsageError
        If weights or a dictionary do not exist, or several weights are given.
    DataError
        If an image cannot be used.
    """
    if options.size not in ("full", "small"):
        raise UsageError(f"size: expected full or small, got '{options.size}'.")
    is_small = options.size == "small"
    start = time.perf_counter()
    weights = _one_set(options.weights)
    patterns = options.dictionaries or (_SMALL_PATTERNS if is_small else ())
    controls = control_dictionaries(load_dictionary(MODEL_OF_CONTROLS), seed=options.seed)
    dictionaries = (*select_dictionaries(patterns), *controls)
    plan = ScanPlan(
        windows=(_WINDOW,), snrs=(_SNR,), noise_factors=(_NOISE_FACTOR,), slices=options.slices,
        crop=48 if is_small else None, seed=options.seed,
    )  # fmt: skip
    scans = gather_scans(options.images, plan)
    few: dict[str, Any] = {"iterations": _SMALL_ITERATIONS} if is_small else {}
    results = ResultsFile(folder / f"benchmark_{NAME}_results.json")
    with one_thread():
        rows = _rows(dictionaries, scans, weights, few, results, progress)
    report = {
        "schema": "lowfield-recon benchmark dictionary-swap, version 1",
        "size": options.size,
        "seed": options.seed,
        "weights": {"name": weights.label, "network": weights.network, "sha256": weights.sha256},
        "scans": [
            {"kind": s.kind, "image": s.image, "setting": s.setting, "subject": s.subject}
            for s in scans
        ],
        "environment": describe_environment(),
        "seconds": time.perf_counter() - start,
        "results_of_an_earlier_run": results.n_found,
        "spread": spread(rows),
        "rows": [row.record() for row in rows],
    }
    return _write(folder, report, rows)


def _one_set(names: Sequence[str]) -> WeightsChoice:
    choices, _ = choose_weights(names)
    if len(names) > 1:
        raise UsageError(f"weights: {NAME} takes one set, got {len(names)}; name one.")
    return choices[0]


def _rows(
    dictionaries: Sequence[Dictionary],
    scans: Sequence[QualityScan],
    weights: WeightsChoice,
    few: dict[str, Any],
    results: ResultsFile,
    progress: StepCallback | None,
) -> list[SwapRow]:
    """Score every dictionary, sorted by name, taking over what an earlier run found."""
    problems: dict[str, Any] = {}
    rows = []
    ordered = sorted(dictionaries, key=lambda dictionary: dictionary.name)
    for i, dictionary in enumerate(ordered):
        if progress is not None:
            progress(i, len(ordered), dictionary.name)
        content = dictionary.sha256()
        collected: dict[str, list[dict[str, Any]]] = {METHOD: [], RULE: []}
        for scan in scans:
            for method, extra, identity in (
                (METHOD, {"weights": weights.source}, weights.sha256),
                (RULE, {}, ""),
            ):
                key = result_key(scan.identity, NAME, method, identity, content, few)
                found = results.find(key)
                if found is None:
                    if scan.identity not in problems:
                        problems[scan.identity] = scan.build()
                    settings = {"dictionary": dictionary, **few, **extra}
                    try:
                        found = solve(problems[scan.identity], method, settings, scan.view).record
                    except LowfieldReconError as error:
                        found = refusal(error)
                    results.store(key, found)
                collected[method].append(found)
        rows.append(
            SwapRow(
                facts=dictionary_facts(dictionary),
                ours=_mean(collected[METHOD]),
                scalar=_mean(collected[RULE]),
            )
        )
    return rows


def _mean(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Average over scans, or say why a method refused."""
    refused = [record["refused"] for record in records if "refused" in record]
    if refused:
        return {"refused": refused[0]}
    return {key: float(np.mean([record[key] for record in records])) for key in _KEYS}


def _write(folder: Path, report: dict[str, Any], rows: Sequence[SwapRow]) -> BenchmarkOutcome:
    json_path, markdown_path = folder / f"benchmark_{NAME}.json", folder / f"benchmark_{NAME}.md"
    table = swap_markdown(rows, report)
    write_swap_plot(folder / f"benchmark_{NAME}.png", rows, title=report["weights"]["name"])
    text = json.dumps(report, indent=2, allow_nan=False) + "\n"
    for path, content in ((json_path, text), (markdown_path, table)):
        with atomic_path(path) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return BenchmarkOutcome(table=table, json_path=json_path, markdown_path=markdown_path)
