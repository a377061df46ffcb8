"""The table of `benchmark ncpr-scans`: means, paired differences, and what was to be shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from lowfield_recon.evaluation.benchmark.ncpr_scans_rows import PEERS, best_row, tuned_row
from lowfield_recon.evaluation.benchmark.tables import markdown_table

OURS = tuned_row("ncpr")

Records = Sequence[Mapping[str, Mapping[str, Any]]]
"""One entry per scan and mask: records by row."""


def summarise(records: Records, rows: Sequence[str]) -> list[dict[str, Any]]:
    """Average over scans and masks, and compare each row with ours, problem by problem.

    Parameters
    ----------
    records
        Records by row of each problem.
    rows
        Names of the rows in the table's order.

    Returns
    -------
        Per row the means, and, where ours was run, the differences ours minus the row in PSNR and
        SSIM: mean, smallest, largest.

    Examples
    --------
    >>> one = {"psnr_db": 30.0, "ssim": 0.9, "seconds": 1.0}
    >>> two = one | {"psnr_db": 31.0}
    >>> summarise([{OURS: two, "tv": one}], [OURS, "tv"])[1]["psnr_gain"]["mean"]
    1.0
    """
    summaries = []
    for row in rows:
        found = [entry[row] for entry in records]
        summary: dict[str, Any] = {
            "name": row,
            "n_problems": len(found),
            **{key: mean(r[key] for r in found) for key in ("psnr_db", "ssim", "seconds")},
        }
        if OURS in rows and row != OURS:
            summary["psnr_gain"] = _gain(records, row, "psnr_db")
            summary["ssim_gain"] = _gain(records, row, "ssim")
        weights = [r["weight_over_rule"] for r in found if "weight_over_rule" in r]
        if weights:
            summary["weight_over_rule"] = mean(weights)
        summaries.append(summary)
    return summaries


def verdict(summaries: Sequence[Mapping[str, Any]]) -> dict[str, bool]:
    """Judge whether ours, tuned on other subjects, is above each peer at its best weight.

    Parameters
    ----------
    summaries
        Rows of `summarise`.

    Returns
    -------
        Per statement whether it holds; only of peers that were run.
    """
    found = {summary["name"]: summary for summary in summaries}
    return {
        f"PSNR of {OURS} is above that of {peer} at the best weight for the image": (
            found[best_row(peer)]["psnr_gain"]["mean"] > 0
        )
        for peer in PEERS
        if best_row(peer) in found and OURS in found
    }


def not_better(summaries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say in words which rows ours does not beat.

    Parameters
    ----------
    summaries
        Rows of `summarise`.

    Returns
    -------
        One sentence per row and metric whose mean is not below that of ours.
    """
    sentences = []
    for summary in summaries:
        for metric, key, digits in (("PSNR", "psnr_gain", 2), ("SSIM", "ssim_gain", 4)):
            gain = summary.get(key)
            if gain is not None and gain["mean"] <= 0:
                sentences.append(
                    f"{OURS} is NOT above {summary['name']} in {metric} "
                    f"({gain['mean']:+.{digits}f})."
                )
    return sentences


def scans_table(summaries: Sequence[Mapping[str, Any]]) -> str:
    """Lay out the table.

    Parameters
    ----------
    summaries
        Rows of `summarise`.

    Returns
    -------
        Markdown.
    """
    cells = []
    for summary in summaries:
        weight = summary.get("weight_over_rule")
        cells.append(
            [
                summary["name"],
                f"{summary['psnr_db']:.2f}",
                _range(summary.get("psnr_gain"), 2),
                f"{summary['ssim']:.4f}",
                _range(summary.get("ssim_gain"), 4),
                "" if weight is None else f"{weight:.2f}",
                f"{summary['seconds']:.1f}",
            ]
        )
    header = ["method", "PSNR [dB]", "ours minus it", "SSIM", "ours minus it", "weight / rule", "s"]
    return markdown_table(header, cells)


def _gain(records: Records, row: str, key: str) -> dict[str, float]:
    differences = [float(entry[OURS][key]) - float(entry[row][key]) for entry in records]
    return {"mean": mean(differences), "smallest": min(differences), "largest": max(differences)}


def _range(gain: Mapping[str, float] | None, digits: int) -> str:
    if gain is None:
        return ""
    ends = f"{gain['smallest']:+.{digits}f} to {gain['largest']:+.{digits}f}"
    return f"{gain['mean']:+.{digits}f} ({ends})"
