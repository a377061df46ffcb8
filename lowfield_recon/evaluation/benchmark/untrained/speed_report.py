"""What `benchmark untrained` says: its tables and whether the requirements are met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from lowfield_recon.evaluation.benchmark.tables import markdown_table, seconds_text

SMALLEST_GAIN = 3.0
"""The published scheme must take this multiple of our time to its own PSNR."""

LARGEST_MG_SPAIR_SECONDS = 300.0
"""For 256 x 256 pixels with two threads."""

LARGEST_DIP_RATIO = 1.0
"""Our time per iteration over deepinv's."""

EARLIER = (0.25, 0.5)
"""Parts of the published scheme's iterations after which its PSNR is compared too."""

BUDGETS_S = (3, 10, 30, 60, 120, 240)
"""Times at which the PSNR of both is given."""

SAME_PSNR_DB = 0.05
"""How far below the target the image of the timed run may lie, whose last digits may differ."""

PRIORS = {
    "dip": "dip",
    "dip_float32": "dip, float32",
    "plain": "plain loop, same network",
    "deepinv": "deepinv, ConvDecoder",
}

Curve = Sequence[Sequence[float]]
"""`[iteration, seconds, psnr_db]` of each iteration."""


def first_at(curve: Curve, target_db: float) -> tuple[int, float] | None:
    """Return when a curve first has a PSNR.

    Parameters
    ----------
    curve
        Iteration, seconds, PSNR.
    target_db
        PSNR.

    Returns
    -------
        Iteration and seconds; None where it never has.

    Examples
    --------
    >>> first_at([[1, 0.5, 20.0], [2, 1.0, 23.0], [3, 1.5, 22.0]], 22.5)
    (2, 1.0)
    """
    for iteration, seconds, psnr_db in curve:
        if psnr_db >= target_db:
            return int(iteration), seconds
    return None


def target_of(published: Mapping[str, Any]) -> float:
    """Return the PSNR to reach: that of the published scheme's last iterate.

    Parameters
    ----------
    published
        Answer of the worker.

    Returns
    -------
        PSNR [dB].
    """
    return float(published["curve"][-1][2])


def gain(report: Mapping[str, Any]) -> float | None:
    """Return how many times our time the published scheme takes to its last PSNR.

    Parameters
    ----------
    report
        As `speed.run` writes it.

    Returns
    -------
        Its time until it first had that PSNR over ours; None where ours does not get there.
    """
    results = report["results"]
    target = target_of(results["published"])
    ours = results.get("ours_timed")
    if ours is None or ours["psnr_db"] < target - SAME_PSNR_DB:
        return None
    theirs = first_at(results["published"]["curve"], target)
    assert theirs is not None  # noqa: S101 - its last iterate has it
    return theirs[1] / float(median(ours["seconds"]))


def dip_ratio(report: Mapping[str, Any], other: str) -> float | None:
    """Return our time per iteration over that of another deep image prior.

    Parameters
    ----------
    report
        As `speed.run` writes it.
    other
        `"plain"` or `"deepinv"`.

    Returns
    -------
        Ratio of medians; None where the other was not run.
    """
    results = report["results"]
    if other not in results:
        return None
    return float(median(results["dip"]["seconds"]) / median(results[other]["seconds"]))


def verdict(report: Mapping[str, Any]) -> dict[str, bool]:
    """Judge a report.

    Parameters
    ----------
    report
        As `speed.run` writes it.

    Returns
    -------
        Each requirement in words and whether it is met; none of size `small`.
    """
    if report["size"] != "full":
        return {}
    ratio, side = gain(report), report["large"]
    met = {
        f"the published scheme takes at least {SMALLEST_GAIN:g} times as long as ngr": (
            ratio is not None and ratio >= SMALLEST_GAIN
        ),
        f"mg-spair on {side}x{side} within {LARGEST_MG_SPAIR_SECONDS:g} s": (
            report["results"]["mg_spair"]["seconds"] <= LARGEST_MG_SPAIR_SECONDS
        ),
    }
    for other in ("deepinv", "plain"):
        slower = dip_ratio(report, other)
        if slower is not None:
            text = f"an iteration of dip no slower than: {PRIORS[other]}"
            met[text] = slower <= LARGEST_DIP_RATIO
    return met


def report_text(report: Mapping[str, Any]) -> str:
    """Write a report as Markdown.

    Parameters
    ----------
    report
        With its `verdict`.

    Returns
    -------
        Tables and sentences, with a line break at the end.
    """
    environment, crop, large = report["environment"], report["crop"], report["large"]
    judged = [f"- {text}: {'met' if ok else 'NOT met'}" for text, ok in report["verdict"].items()]
    missing = [] if "deepinv" in report["results"] else [
        "- deepinv is not installed (pip install 'lowfield-recon[compare]'): not compared."
    ]  # fmt: skip
    return "\n".join(
        [
            f"{report['image']}, {report['threads']} threads, {environment['cpu']}, "
            f"{environment['cores']} cores, load {environment['load_at_start'] or 0:.2f}; each in "
            "a process of its own, peak memory of the whole process. Medians.",
            "",
            f"### ngr, inpainting of 30 %, {crop}x{crop}",
            "",
            _ngr_table(report),
            "",
            _ngr_sentence(report),
            "",
            budget_table(report),
            "",
            f"### mg-spair, inpainting of 50 %, {large}x{large}",
            "",
            _mg_spair_table(report["results"]["mg_spair"]),
            "",
            f"### Deep image priors, one iteration, {large}x{large}",
            "",
            _dip_table(report),
            "",
            *judged,
            *missing,
            "",
        ]
    )


def _ngr_table(report: Mapping[str, Any]) -> str:
    """Compare times to what the published scheme has at parts of its time, and at its end."""
    published, ours = report["results"]["published"]["curve"], report["results"]["ours_followed"]
    cells = []
    for part in EARLIER:
        point = published[max(round(part * len(published)), 1) - 1]
        cells.append(_ngr_cells(point[2], published, first_at(ours["curve"], point[2])))
    timed, ratio = report["results"].get("ours_timed"), gain(report)
    reached = None if timed is None else (report["iterations"], median(timed["seconds"]))
    last = _ngr_cells(published[-1][2], published, reached)
    cells.append([f"{last[0]}, judged", *last[1:-1], f"{ratio:.1f}" if ratio else "-"])
    header = ["to", "published: iterations", "time", "ngr: iterations", "time", "ratio of times"]
    return markdown_table(header, cells)


def budget_table(report: Mapping[str, Any]) -> str:
    """Write the PSNR of the published scheme and of ngr after some times, as Markdown.

    Parameters
    ----------
    report
        As `speed.run` writes it.

    Returns
    -------
        A row each; where all iterations were done before, their PSNR.
    """
    cells = []
    for name, label in (("published", "published"), ("ours_followed", "ngr")):
        curve = report["results"][name]["curve"]
        cells.append([label, *(_psnr_after(curve, seconds) for seconds in BUDGETS_S)])
    return markdown_table(["PSNR [dB] after", *(f"{s} s" for s in BUDGETS_S)], cells)


def _psnr_after(curve: Curve, seconds: float) -> str:
    done = [psnr_db for _, when, psnr_db in curve if when <= seconds]
    return f"{done[-1]:.2f}" if done else "-"


def _ngr_cells(target_db: float, published: Curve, ours: tuple[int, float] | None) -> list[str]:
    theirs = first_at(published, target_db)
    assert theirs is not None  # noqa: S101 - the target is a value of this curve
    cells = [f"{target_db:.2f} dB", str(theirs[0]), seconds_text(theirs[1])]
    if ours is None:
        return [*cells, "not reached", "-", "-"]
    return [*cells, str(ours[0]), seconds_text(ours[1]), f"{theirs[1] / ours[1]:.1f}"]


def _ngr_sentence(report: Mapping[str, Any]) -> str:
    published, ours = report["results"]["published"], report["results"]["ours_followed"]
    peaks = f"{published['peak_mib']:.0f} and {ours['peak_mib']:.0f} MiB"
    return (
        f"The published scheme (three networks, splitting, single precision) was given "
        f"{seconds_text(published['seconds'])}, {published['curve'][-1][0]} iterations; its times "
        "are those until it first had a PSNR, scoring not counted. ngr has its defaults: after all "
        f"{ours['curve'][-1][0]} iterations {ours['psnr_db']:.2f} dB in "
        f"{seconds_text(ours['curve'][-1][1])}. Its iterations to the last PSNR are counted in "
        "that run and timed in another without anybody looking on. Peak memory of published and "
        f"ours: {peaks}."
    )


def _mg_spair_table(found: Mapping[str, Any]) -> str:
    cells = [
        [str(found["iterations"]), found["stopping_reason"], f"{found['psnr_db']:.2f}",
         seconds_text(found["seconds"]), f"{found['peak_mib']:.0f}"]
    ]  # fmt: skip
    return markdown_table(["iterations", "stopped by", "PSNR [dB]", "time", "peak MiB"], cells)


def _dip_table(report: Mapping[str, Any]) -> str:
    results, cells = report["results"], []
    for name, label in PRIORS.items():
        if name not in results:
            continue
        found, ratio = results[name], dip_ratio(report, name)
        cells.append(
            [label, found["precision"], f"{found['parameters'] / 1e6:.2f}",
             f"{found['multiplications'] / 1e9:.2f}", seconds_text(median(found["seconds"])),
             f"{ratio:.2f}", f"{found['peak_mib']:.0f}"]
        )  # fmt: skip
    header = [
        "method", "precision", "million weights", "1e9 multiplications", "per iteration",
        "dip / it", "peak MiB",
    ]  # fmt: skip
    return markdown_table(header, cells)
