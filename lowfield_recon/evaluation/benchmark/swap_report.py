"""Table, spread and plot of `benchmark dictionary-swap`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lowfield_recon.dictionaries.controls import CONTROL
from lowfield_recon.evaluation.benchmark.tables import markdown_table
from lowfield_recon.files import atomic_path

_METRICS = {"psnr_db": "PSNR [dB]", "ssim": "SSIM"}
_SPREAD_HEADER = ["dictionaries", "method", "score", "n", "min", "median", "max", "from ... to"]
_FACTS = {"K": "K", "kernel": "kernel [pixels]", "lambda": "lambda", "beta": "beta"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapRow:
    """What one dictionary gave, mean over the scans."""

    facts: Mapping[str, Any]
    """Name, family, K, kernel, lambda, beta, hash."""

    ours: Mapping[str, Any]
    """Scores of `cdl-lambda`, or why it refused."""

    scalar: Mapping[str, Any]
    """The same of `cdl` by its rule."""

    @property
    def is_control(self) -> bool:
        """Whether the dictionary was made to know nothing."""
        return str(self.facts["name"]).startswith(CONTROL)

    def record(self) -> dict[str, Any]:
        """Return the row as JSON can hold it."""
        return {**self.facts, "cdl-lambda": dict(self.ours), "cdl": dict(self.scalar)}


def spread(rows: Sequence[SwapRow]) -> dict[str, Any]:
    """Return the smallest, median and largest score over dictionaries, without the controls.

    Parameters
    ----------
    rows
        Rows of the table.

    Returns
    -------
        For `bank` (all) and each family, method and metric: `min`, `median`, `max`, the names of
        the `worst` and `best`, and `n`. Dictionaries that a method refuses are not counted.

    Examples
    --------
    >>> def row(name, db):
    ...     scores = {"psnr_db": db, "ssim": 0.9}
    ...     return SwapRow(facts={"name": name, "family": "a"}, ours=scores, scalar=scores)
    >>> spread([row("a_1", 30.0), row("a_2", 32.0)])["bank"]["cdl"]["psnr_db"]["median"]
    31.0
    """
    learnt = [row for row in rows if not row.is_control]
    families = sorted({str(row.facts["family"]) for row in learnt})
    result: dict[str, Any] = {}
    for family in ("bank", *families):
        chosen = [row for row in learnt if family in ("bank", row.facts["family"])]
        result[family] = {
            "cdl-lambda": _spreads([(row.facts["name"], row.ours) for row in chosen]),
            "cdl": _spreads([(row.facts["name"], row.scalar) for row in chosen]),
        }
    return result


def swap_markdown(rows: Sequence[SwapRow], report: Mapping[str, Any]) -> str:
    """Write the table with the spread below.

    Parameters
    ----------
    rows
        Rows, sorted by name.
    report
        The report with `weights`, `scans` and `spread`.

    Returns
    -------
        Markdown.
    """
    header = ["dictionary", "K", "kernel", "lambda", "beta", "PSNR [dB]", "SSIM", "s", "non-zero",
              "cdl: PSNR", "SSIM", "s", "non-zero"]  # fmt: skip
    cells = [
        [
            row.facts["name"],
            *(_plain(row.facts[key]) for key in _FACTS),
            *_scores(row.ours),
            *_scores(row.scalar),
        ]
        for row in rows
    ]
    spreads = [
        _spread_cells(family, method, name, metrics[name])
        for family, methods in report["spread"].items()
        for method, metrics in methods.items()
        for name in metrics
    ]
    refused = {r.ours["refused"] for r in rows if "refused" in r.ours}
    refused |= {r.scalar["refused"] for r in rows if "refused" in r.scalar}
    settings = sorted({f"{scan['kind']}, {scan['setting']}" for scan in report["scans"]})
    images = list(dict.fromkeys(scan["image"] for scan in report["scans"]))
    lines = [
        markdown_table(header, cells),
        "",
        markdown_table(_SPREAD_HEADER, spreads),
        "",
        *(f"- not possible: {reason}" for reason in sorted(refused)),
        f"One set of weights, {report['weights']['name']}, with every dictionary; beside it cdl "
        f"with its rule and no network. Means over {len(images)} images ({'; '.join(images)}); "
        f"{'; '.join(settings)}. Scores on magnitudes, of recorded scans on the "
        "phase-corrected real part; data range = maximum of the reference; of "
        "recorded scans the reference holds independent noise. Rows named control_ are no "
        "dictionaries of the bank (white noise, and a dictionary with the pixels of each kernel "
        "shuffled) and are not in the spread. One thread.",
        "",
    ]  # fmt: skip
    return "\n".join(lines)


def write_swap_plot(path: Path, rows: Sequence[SwapRow], *, title: str) -> Path:
    """Plot both scores against K, kernel size, lambda and beta of the dictionary.

    Parameters
    ----------
    path
        PNG to write.
    rows
        Rows of the table; the controls are lines across.
    title
        Name of the weights.

    Returns
    -------
        The path.

    Raises
    ------
    DataError
        If the folder is missing.
    """
    figure = Figure(figsize=(3.0 * len(_FACTS), 5.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(_METRICS), len(_FACTS), sharey="row", squeeze=False)
    figure.suptitle(f"{title} and cdl by its rule, every dictionary", fontsize=10)
    for line, (metric, metric_text) in zip(axes, _METRICS.items(), strict=True):
        line[0].set_ylabel(metric_text)
        for axis, (fact, fact_text) in zip(line, _FACTS.items(), strict=True):
            _scatter(axis, rows, fact, metric)
            axis.set_xlabel(fact_text, fontsize=8)
            axis.tick_params(labelsize=7)
            axis.grid(alpha=0.3)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    axes[0, 0].legend(handles, labels, fontsize=6.5, loc="best")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=130, facecolor="white")
    return path


def _scatter(axis: Any, rows: Sequence[SwapRow], fact: str, metric: str) -> None:
    """Draw one score against one fact, values side by side at even steps."""
    known = [row for row in rows if not row.is_control and row.facts[fact] is not None]
    values = sorted({float(row.facts[fact]) for row in known})
    methods = (("cdl-lambda", "ours", "tab:blue", -0.12), ("cdl", "scalar", "tab:orange", 0.12))
    for label, attribute, colour, shift in methods:
        points = [
            (values.index(float(row.facts[fact])) + shift, getattr(row, attribute)[metric])
            for row in known
            if metric in getattr(row, attribute)
        ]
        x, y = [point[0] for point in points], [point[1] for point in points]
        axis.scatter(x, y, s=9, color=colour, alpha=0.6, label=label)
        for row in rows:
            if row.is_control and metric in getattr(row, attribute):
                style = ":" if "random" in row.facts["name"] else "--"
                control = "random" if style == ":" else "shuffled"
                axis.axhline(
                    getattr(row, attribute)[metric], color=colour, linestyle=style, linewidth=0.8,
                    label=f"{label}, {control} control",
                )  # fmt: skip
    axis.set_xticks(range(len(values)), [f"{value:g}" for value in values])


def _spreads(named: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for metric in _METRICS:
        found = {name: float(scores[metric]) for name, scores in named if metric in scores}
        if found:
            values = np.array(list(found.values()))
            result[metric] = {
                "n": len(found),
                "min": float(values.min()),
                "median": float(np.median(values)),
                "max": float(values.max()),
                "worst": min(found, key=lambda name: found[name]),
                "best": max(found, key=lambda name: found[name]),
            }
    return result


def _spread_cells(family: str, method: str, name: str, found: Mapping[str, Any]) -> list[str]:
    digits = 2 if name == "psnr_db" else 4
    values = [f"{found[key]:.{digits}f}" for key in ("min", "median", "max")]
    ends = f"{found['worst']} ... {found['best']}"
    return [family, method, _METRICS[name], str(found["n"]), *values, ends]


def _scores(scores: Mapping[str, Any]) -> list[str]:
    if "refused" in scores:
        return ["-"] * 4
    return [
        f"{scores['psnr_db']:.2f}",
        f"{scores['ssim']:.4f}",
        f"{scores['seconds']:.1f}",
        f"{scores['fraction_of_nonzero_codes']:.1%}",
    ]


def _plain(value: Any) -> str:
    return "-" if value is None else f"{value:g}"
