"""What `benchmark ncpr` says: its table and whether the requirements are met."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from lowfield_recon.evaluation.benchmark.tables import markdown_table, seconds_text

LARGEST_LOSS_DB = 0.02
"""How near to the PSNR of the converged published iteration is near enough."""

SETTLED_DB = 0.005
"""A PSNR has settled when it stays within this range."""

SETTLED_ITERATIONS = 500
"""For so many iterations."""

SMALLEST_GAIN = 20.0
"""The published direct iteration must take this multiple of our time, with two threads."""

LARGEST_MEMORY_MIB = 1.5e9 / 2**20
"""Resident memory of the whole process."""

LARGEST_DISAGREEMENT = 1e-4
"""Between the first iterates of the factored and of the direct form, single precision."""


def has_settled(psnr_db: Sequence[float]) -> bool:
    """Return whether a curve has come to rest.

    Parameters
    ----------
    psnr_db
        PSNR after each iteration.

    Returns
    -------
        Whether the last 500 values lie within 0.005 dB.

    Examples
    --------
    >>> has_settled([20.0] + [30.0] * 499), has_settled([20.0] + [30.0] * 500)
    (False, True)
    """
    last = psnr_db[-SETTLED_ITERATIONS:]
    return len(last) == SETTLED_ITERATIONS and max(last) - min(last) < SETTLED_DB


def iterations_to(psnr_db: Sequence[float], target_db: float) -> int | None:
    """Return after how many iterations a curve has reached a PSNR for good.

    Parameters
    ----------
    psnr_db
        PSNR after each iteration.
    target_db
        PSNR to reach and not to fall below again.

    Returns
    -------
        Number of iterations; None where the last one lies below.

    Examples
    --------
    >>> iterations_to([28.0, 30.1, 29.9, 30.2], 30.0)
    4
    """
    below = [number for number, value in enumerate(psnr_db, start=1) if value < target_db]
    if not psnr_db or (below and below[-1] == len(psnr_db)):
        return None
    return below[-1] + 1 if below else 1


def target_db(report: dict[str, Any]) -> float:
    """Return the PSNR that counts as reached.

    Parameters
    ----------
    report
        As `ncpr_speed.run` writes it.

    Returns
    -------
        That of the converged published iteration, less 0.02 dB.
    """
    return float(report["published"]["psnr_db"][-1]) - LARGEST_LOSS_DB


def published_seconds(report: dict[str, Any], threads: int) -> float:
    """Return the time of the direct iteration to the PSNR.

    Parameters
    ----------
    report
        See `target_db`.
    threads
        Number of threads.

    Returns
    -------
        Iterations times the median time of one.
    """
    count = iterations_to(report["published"]["psnr_db"], target_db(report))
    assert count is not None  # noqa: S101 - its own last PSNR is above the target
    return count * float(median(report["results"][f"direct, {threads} threads"]["seconds"]))


def gain(report: dict[str, Any], threads: int) -> float | None:
    """Return how many times our time the direct iteration takes to the PSNR.

    Parameters
    ----------
    report
        See `target_db`.
    threads
        Number of threads.

    Returns
    -------
        The ratio; None where ours does not get there.
    """
    if iterations_to(report["ours"]["psnr_db"], target_db(report)) is None:
        return None
    ours = float(median(report["results"][f"ours, {threads} threads"]["seconds"]))
    return published_seconds(report, threads) / ours


def verdict(report: dict[str, Any]) -> dict[str, bool]:
    """Judge a report.

    Parameters
    ----------
    report
        See `target_db`.

    Returns
    -------
        Each requirement in words and whether it is met; of size `small` only that the factored
        iterates are the direct ones and that ours gets there.
    """
    met = {
        "the first factored iterates are those of direct convolutions": report["disagreement"]
        <= LARGEST_DISAGREEMENT,
        f"ours comes within {LARGEST_LOSS_DB} dB of the published iteration": iterations_to(
            report["ours"]["psnr_db"], target_db(report)
        )
        is not None,
    }
    if report["size"] != "full":
        return met
    most = max(_threads(report))
    ratio = gain(report, most)
    met[f"at least {SMALLEST_GAIN:g} times faster, {most} threads"] = (
        ratio is not None and ratio >= SMALLEST_GAIN
    )
    peaks = [
        answer["peak_mib"]
        for name, answer in report["results"].items()
        if name.startswith(("ours", "whole"))
    ]
    met["our memory under 1.5 GB"] = max(peaks) < LARGEST_MEMORY_MIB
    return met


def report_text(report: dict[str, Any]) -> str:
    """Write a report as Markdown.

    Parameters
    ----------
    report
        With its `verdict`.

    Returns
    -------
        Table and sentences, with a line break at the end.
    """
    environment, settings = report["environment"], report["settings"]
    rows, columns = report["grid"]
    published = report["published"]
    count = iterations_to(published["psnr_db"], target_db(report))
    judged = [f"- {text}: {'met' if ok else 'NOT met'}" for text, ok in report["verdict"].items()]
    return "\n".join(
        [
            f"{report['image']} on {rows}x{columns}, single coil, a real image >= 0, "
            f"{report['acquired_columns']} of {columns} columns of k-space, noise 0.002 in real "
            f"and imaginary part; {settings['weights']}, beta {settings['beta']:g}, lambda_0 "
            f"{settings['regularization_weight']:g}, single precision; {environment['cpu']}, "
            f"{environment['cores']} cores, load {environment['load_at_start'] or 0:.2f}. Medians.",
            "",
            _table(report),
            "",
            f"- The published iteration ends after {len(published['psnr_db'])} iterations "
            f"({published['stopping_reason']}) at {published['psnr_db'][-1]:.3f} dB; from "
            f"iteration {count} on it is within {LARGEST_LOSS_DB} dB of that. Its iterations were "
            "counted in our factored form, whose first iterates differ by "
            f"{report['disagreement']:.1e} of their size; its time is that number times the "
            "measured time of a direct iteration.",
            *_sentences(report),
            "",
            *judged,
            "",
        ]
    )


def _table(report: dict[str, Any]) -> str:
    target, cells = target_db(report), []
    theirs = iterations_to(report["published"]["psnr_db"], target)
    ours = iterations_to(report["ours"]["psnr_db"], target)
    for n in _threads(report):
        direct, timed, whole = (
            report["results"][f"{task}, {n} threads"] for task in ("direct", "ours", "whole")
        )
        cells.append(
            ["published, direct", str(n), str(theirs), seconds_text(median(direct["seconds"])),
             seconds_text(published_seconds(report, n)), f"{direct['peak_mib']:.0f}", ""]
        )  # fmt: skip
        ratio, seconds = gain(report, n), median(timed["seconds"])
        count = ours or len(report["ours"]["psnr_db"])
        cells.append(
            ["ours", str(n), str(ours or "not reached"), seconds_text(seconds / count),
             seconds_text(seconds), f"{timed['peak_mib']:.0f}", f"{ratio:.1f}" if ratio else "-"]
        )  # fmt: skip
        cells.append(
            ["ours, until it stops", str(n), str(whole["iterations"]),
             seconds_text(whole["seconds"] / max(whole["iterations"], 1)),
             seconds_text(whole["seconds"]), f"{whole['peak_mib']:.0f}",
             f"{published_seconds(report, n) / whole['seconds']:.1f}"]
        )  # fmt: skip
    header = [
        f"to {target:.3f} dB", "threads", "iterations", "s per iteration", "s", "peak MiB",
        "published takes times",
    ]  # fmt: skip
    return markdown_table(header, cells)


def _sentences(report: dict[str, Any]) -> list[str]:
    best = report["ours"]["psnr_db"]
    whole = report["results"][f"whole, {max(_threads(report))} threads"]
    return [
        f"- Ours ends after {whole['iterations']} iterations ({whole['stopping_reason']}) at "
        f"{whole['psnr_db']:.3f} dB. The first published iteration gives "
        f"{report['published']['psnr_db'][0]:.3f} dB, our first {best[0]:.3f} dB."
    ]


def _threads(report: dict[str, Any]) -> list[int]:
    return [
        int(name.split(", ")[1].split()[0])
        for name in report["results"]
        if name.startswith("direct")
    ]
