"""Markdown tables made from the solver benchmark's JSON, and from nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lowfield_recon.evaluation.benchmark.tables import markdown_table, seconds_text

MAIN_TARGET = "0.001"
WANTED_SPEED_UP = 1.5

Record = Mapping[str, Any]


def markdown_report(report: Mapping[str, Any]) -> str:
    """Write the tables for people.

    Parameters
    ----------
    report
        Content of `benchmark_solvers.json`.

    Returns
    -------
        Markdown with a table of ratios, a table of all measurements, and what they were made with.

    Examples
    --------
    >>> "no runs" in markdown_report({"runs": [], "command": "", "environment": {}, "seconds": 1.0,
    ...                               "not_installed": {}, "protocol": ""})
    True
    """
    if not report["runs"]:
        return "There are no runs.\n"
    groups = _groups(report["runs"])
    parts = [
        _ratios(groups),
        "Time and memory of the peers divided by ours: above 1, ours is faster or leaner. "
        f"Time is to a relative objective gap of {MAIN_TARGET}; wanted is {WANTED_SPEED_UP} or "
        "more in time and 1 or more in memory.",
        _measurements(groups),
        *_missing(report["not_installed"]),
        _conditions(report),
        report["protocol"],
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _groups(runs: Sequence[Record]) -> dict[tuple[str, int], list[Record]]:
    groups: dict[tuple[str, int], list[Record]] = {}
    for run in runs:
        groups.setdefault((run["problem"]["case"], run["threads"]), []).append(run)
    return groups


def _ratios(groups: Mapping[tuple[str, int], Sequence[Record]]) -> str:
    """Lay out, per case and threads, ours against the fastest and the leanest peer."""
    rows: list[list[str]] = []
    for (case, threads), runs in groups.items():
        ours = next((run for run in runs if run["tool"] == "ours"), None)
        peers = [run for run in runs if run["tool"] != "ours"]
        if ours is None or not peers:
            continue
        rows.append(
            [
                case,
                str(threads),
                _time_text(ours),
                *_against(ours, peers, _time),
                *_against(ours, peers, _peak),
                *_against(ours, peers, _above),
            ]
        )
    if not rows:
        return ""
    header = ["case", "threads", "ours", "fastest peer", "time ratio", "leanest peer",
              "memory ratio", "leanest above baseline", "ratio above baseline"]  # fmt: skip
    return markdown_table(header, rows)


def _against(ours: Record, peers: Sequence[Record], quantity: Any) -> list[str]:
    """Return the best peer's name and its value divided by ours."""
    mine = quantity(ours)
    known = [(quantity(peer), peer["tool"]) for peer in peers if quantity(peer) is not None]
    if not known:
        return ["none", "-"]
    value, name = min(known)
    return [name, "-" if not mine else f"{value / mine:.2f}"]


def _measurements(groups: Mapping[tuple[str, int], Sequence[Record]]) -> str:
    header = ["case", "threads", "tool", "iterations", "time", "quartiles", "repeats",
              "time / ours", "to 1e-2", "to 1e-4", "peak MiB", "above baseline MiB", "NRMSE",
              "status"]  # fmt: skip
    rows: list[list[str]] = []
    for (case, threads), runs in groups.items():
        reference = next((_time(run) for run in runs if run["tool"] == "ours"), None)
        rows.extend([case, str(threads), *_measurement(run, reference)] for run in runs)
    return markdown_table(header, rows)


def _measurement(run: Record, reference: float | None) -> list[str]:
    cell = _cell(run, MAIN_TARGET)
    seconds = _time(run)
    quartiles = None if cell is None else cell["wall_seconds_quartiles"]
    nrmse = run["metrics"].get("nrmse")
    why = f": {'; '.join(run['notes'])}" if run["notes"] else ""
    return [
        f"{run['tool']} {run['version']}",
        "-" if cell is None else str(cell["iterations"]),
        _time_text(run),
        "-" if quartiles is None else " to ".join(seconds_text(value) for value in quartiles),
        "-" if cell is None else str(cell["repeats"]),
        "-" if seconds is None or not reference else f"{seconds / reference:.2f}",
        _time_text(run, "0.01"),
        _time_text(run, "0.0001"),
        _mib_text(_peak(run)),
        _mib_text(_above(run)),
        "-" if nrmse is None else f"{nrmse:.4f}",
        run["status"] + why,
    ]


def _cell(run: Record, target: str) -> Mapping[str, Any] | None:
    if run["timing"] is None:
        return None
    cell: Mapping[str, Any] | None = run["timing"]["to_gap"].get(target)
    return cell


def _time(run: Record, target: str = MAIN_TARGET) -> float | None:
    cell = _cell(run, target)
    return None if cell is None else cell["wall_seconds"]


def _time_text(run: Record, target: str = MAIN_TARGET) -> str:
    seconds = _time(run, target)
    return "-" if seconds is None else seconds_text(seconds)


def _peak(run: Record) -> float | None:
    return None if run["timing"] is None else run["timing"]["peak_memory_mib"]


def _above(run: Record) -> float | None:
    return None if run["timing"] is None else run["timing"]["peak_above_baseline_mib"]


def _mib_text(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _missing(not_installed: Mapping[str, str]) -> list[str]:
    listed = "; ".join(f"{name} ({how})" for name, how in not_installed.items())
    return [f"Not installed: {listed}."] if listed else []


def _conditions(report: Mapping[str, Any]) -> str:
    environment = report["environment"]
    load = environment["load_at_start"]
    busy = "" if load is None else f", load {load:.2f} at the start"
    return (
        f"Made by `{report['command']}` in {seconds_text(report['seconds'])} on "
        f"{environment['cpu']}, {environment['cores']} cores, {environment['memory_gib']} GiB"
        f"{busy}, {environment['os']}, Python {environment['python']}."
    )
