"""What `benchmark cdl` says: its tables and whether the requirements are met."""

from __future__ import annotations

from statistics import median
from typing import Any

from lowfield_recon.evaluation.benchmark.cdl_speed_problem import NOISE_FRACTIONS
from lowfield_recon.evaluation.benchmark.tables import markdown_table, seconds_text

LARGEST_RATIO = 1.6
"""An iteration may take this multiple of its own 2 K bare Fourier transforms."""

SMALLEST_GAIN = 25.0
"""`pgd` must take this multiple of our time to a gap of 1e-3."""

LARGEST_GAP = 1e-3
"""Relative gap of the objective after 64 iterations."""

LARGEST_MEMORY_MIB = 1.5e9 / 2**20
"""Resident memory of the whole process at the largest number of filters."""


def verdict(report: dict[str, Any]) -> dict[str, bool]:
    """Judge a report.

    Parameters
    ----------
    report
        As `lowfield_recon.evaluation.benchmark.cdl_speed.run` writes it.

    Returns
    -------
        Each requirement in words and whether it is met; of size `small` only whether it comes near
        the optimum.
    """
    results = report["results"]
    gaps = [
        results[f"convergence, noise {noise:g}"]["gaps"]["descent"] for noise in NOISE_FRACTIONS
    ]
    if report["size"] != "full":
        return {"gap after 64 iterations at most 0.01": max(gaps) <= 10 * LARGEST_GAP}
    met = {f"gap after 64 iterations at most {LARGEST_GAP:g}": max(gaps) <= LARGEST_GAP}
    ratios = [ratio_to_bare(results[name], "descent") for name in _rows(report, "iteration")]
    gains = [g for name in _rows(report, "pgd") if (g := gain(report, _threads(name))) is not None]
    met[f"an iteration at most {LARGEST_RATIO:g} times its bare transforms"] = (
        max(ratios) <= LARGEST_RATIO
    )
    met[f"a gap of 1e-3 at least {SMALLEST_GAIN:g} times sooner than pgd"] = (
        bool(gains) and min(gains) >= SMALLEST_GAIN
    )
    met["memory at most 1.5 GB"] = results["memory"]["peak_mib"] <= LARGEST_MEMORY_MIB
    return met


def ratio_to_bare(answer: dict[str, Any], name: str) -> float:
    """Return the time of an iteration over that of its bare transforms in one call.

    Parameters
    ----------
    answer
        Of the task `iteration`.
    name
        Solver.

    Returns
    -------
        Ratio of medians.
    """
    return float(median(answer[name]) / median(answer["bare"]))


def gain(report: dict[str, Any], threads: int) -> float | None:
    """Return how many times longer `pgd` takes to a gap of 1e-3 than we do.

    Parameters
    ----------
    report
        See `verdict`.
    threads
        Row.

    Returns
    -------
        Ratio of (iterations x median time of one); None where `pgd` was not seen to get there, nor
        we.
    """
    counts = _counts(report)
    if counts["descent"] is None or counts["pgd"] is None:
        return None
    ours, theirs = _iteration_seconds(report, threads)
    return float(counts["pgd"] * theirs / (counts["descent"] * ours))


def report_text(report: dict[str, Any]) -> str:
    """Write a report as Markdown.

    Parameters
    ----------
    report
        With its `verdict`.

    Returns
    -------
        Tables and sentences, with a line break at the end.
    """
    environment = report["environment"]
    grid, filters, kernel = report["grid"], report["filters"], report["kernel"]
    judged = [f"- {text}: {'met' if ok else 'NOT met'}" for text, ok in report["verdict"].items()]
    return "\n".join(
        [
            f"{report['image']} on {grid}x{grid}, {filters} filters of {kernel}x{kernel}, complex "
            f"single precision; {environment['cpu']}, {environment['cores']} cores, load "
            f"{environment['load_at_start'] or 0:.2f} at the start. Medians.",
            "",
            _iteration_table(report),
            "",
            _convergence_table(report),
            "",
            _scaling_table(report),
            "",
            *_sentences(report),
            "",
            *judged,
            "",
        ]
    )


def _iteration_table(report: dict[str, Any]) -> str:
    rows = []
    for name in _rows(report, "iteration"):
        answer, threads = report["results"][name], _threads(name)
        theirs = median(report["results"][f"pgd, {threads} threads"]["seconds"])
        bare = median(answer["bare"])
        entries = {key: median(answer[key]) for key in answer if key != "request"}
        for solver, seconds in {**entries, "mrpro pgd": theirs}.items():
            rows.append(
                [solver, str(threads), seconds_text(seconds), f"{seconds / bare:.2f}",
                 f"{theirs / seconds:.1f}"]
            )  # fmt: skip
    header = ["iteration of", "threads", "time", "of bare transforms", "pgd takes times"]
    return markdown_table(header, rows)


def _convergence_table(report: dict[str, Any]) -> str:
    rows = []
    for noise in NOISE_FRACTIONS:
        answer = report["results"][f"convergence, noise {noise:g}"]
        gaps, counts = answer["gaps"], answer["iterations_to_gap"]
        rows.append(
            [f"{noise:g}", *(f"{gaps[s]:.1e}" for s in ("descent", "admm", "fista")),
             str(counts["descent"] or "-")]
        )  # fmt: skip
    header = ["noise / maximum", "gap at 64, descent", "admm", "fista", "descent, to 1e-3"]
    return markdown_table(header, rows)


def _scaling_table(report: dict[str, Any]) -> str:
    rows = []
    for name, answer in report["results"].items():
        if name.endswith((" filters", " slices")):
            request, seconds = answer["request"], median(answer["descent"])
            codes = request["filters"] * request["planes"]
            rows.append(
                [str(request["filters"]), str(request["planes"]), seconds_text(seconds),
                 seconds_text(seconds / codes)]
            )  # fmt: skip
    return markdown_table(["filters", "slices", "iteration", "per filter and slice"], rows)


def _sentences(report: dict[str, Any]) -> list[str]:
    results, counts = report["results"], _counts(report)
    said = []
    for name in _rows(report, "slice"):
        seconds = median(results[name]["seconds"])
        said.append(f"- 64 iterations of one slice, {name[7:]}: {seconds_text(seconds)}.")
    gpu = results["slice, GPU"]
    if gpu["gpu"] is None:
        said.append("- No GPU here.")
    else:
        seconds = median(gpu["seconds"])
        said.append(f"- 64 iterations of one slice, {gpu['gpu']}: {seconds_text(seconds)}.")
    for name in _rows(report, "pgd"):
        threads = _threads(name)
        ours, theirs = _iteration_seconds(report, threads)
        if (times := gain(report, threads)) is None:
            said.append(f"- To a gap of 1e-3: not reached within {_most(report)} iterations.")
        else:
            said.append(
                f"- To a gap of 1e-3, {threads} threads: ours {counts['descent']} iterations, "
                f"{seconds_text(counts['descent'] * ours)}; pgd {counts['pgd']} iterations, "
                f"{seconds_text(counts['pgd'] * theirs)} (its time per iteration times the "
                "iterations that our FISTA with its momentum needs, as both have the same "
                f"iterates): {times:.0f} times ours."
            )
    memory = results["memory"]
    said.append(
        f"- Peak memory of the process at {memory['request']['filters']} filters: "
        f"{memory['peak_mib']:.0f} MiB."
    )
    return said


def _counts(report: dict[str, Any]) -> dict[str, Any]:
    middle = NOISE_FRACTIONS[len(NOISE_FRACTIONS) // 2]
    counts: dict[str, Any] = report["results"][f"convergence, noise {middle:g}"][
        "iterations_to_gap"
    ]
    return counts


def _most(report: dict[str, Any]) -> int:
    middle = NOISE_FRACTIONS[len(NOISE_FRACTIONS) // 2]
    request = report["results"][f"convergence, noise {middle:g}"]["request"]
    return int(request["pgd_iterations"])


def _iteration_seconds(report: dict[str, Any], threads: int) -> tuple[float, float]:
    results = report["results"]
    ours = median(results[f"iteration, {threads} threads"]["descent"])
    return ours, median(results[f"pgd, {threads} threads"]["seconds"])


def _rows(report: dict[str, Any], task: str) -> list[str]:
    return [
        name for name in report["results"] if name.startswith(f"{task}, ") and "threads" in name
    ]


def _threads(name: str) -> int:
    return int(name.split(", ")[1].split()[0])
