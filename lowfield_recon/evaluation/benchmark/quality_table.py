"""The table of `benchmark cdl-quality`: one part per setting, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lowfield_recon.evaluation.benchmark.quality_methods import (
    BEST_PSNR,
    BEST_SSIM,
)
from lowfield_recon.evaluation.benchmark.quality_scans import Kind, QualityScan
from lowfield_recon.evaluation.benchmark.quality_statistics import (
    paired_difference,
    subject_means,
    verdict,
)
from lowfield_recon.evaluation.benchmark.quality_weights import WeightsChoice
from lowfield_recon.evaluation.benchmark.tables import markdown_table

ALL = "all settings"
SSIM_MARGIN = 0.003
"""How much SSIM ours may lose against the network that belongs to one dictionary."""

_KINDS: dict[Kind, str] = {
    "simulated": "simulated scans",
    "recorded": "recorded scans made worse (the reference holds independent noise)",
}

_UNITS: dict[Kind, str] = {"simulated": "subjects", "recorded": "files"}
"""What counts as independent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredScan:
    """A scan with the record of every row."""

    scan: QualityScan
    records: Mapping[str, Mapping[str, Any]]


def summarise(scored: Sequence[ScoredScan], rows: Sequence[str], ours: str) -> list[dict[str, Any]]:
    """Average over subjects, setting by setting and over all of a kind.

    Parameters
    ----------
    scored
        Scans with their records.
    rows
        Names of the rows, in the table's order.
    ours
        Row that the others are compared with.

    Returns
    -------
        Per kind and setting: `rows`, each with mean scores and seconds, the differences `ours`
        minus the row with intervals, and the verdict. JSON can hold it.
    """
    summaries = []
    for kind in _KINDS:
        of_kind = [entry for entry in scored if entry.scan.kind == kind]
        settings = list(dict.fromkeys(entry.scan.setting for entry in of_kind))
        for setting in [*settings, *([ALL] if len(settings) > 1 else [])]:
            chosen = [e for e in of_kind if setting in (ALL, e.scan.setting)]
            summaries.append(
                {
                    "kind": kind,
                    "setting": setting,
                    "n_subjects": len({e.scan.subject for e in chosen}),
                    "n_scans": len(chosen),
                    "rows": [_row(chosen, row, ours) for row in rows],
                }
            )
    return summaries


def quality_markdown(summaries: Sequence[Mapping[str, Any]], ours: str) -> str:
    """Write the summaries as tables.

    Parameters
    ----------
    summaries
        What `summarise` returned.
    ours
        Name of the row that the others are compared with.

    Returns
    -------
        Markdown.
    """
    header = [
        "method", "PSNR [dB]", "SSIM", "head: PSNR", "SSIM", "s", f"{ours} minus it: PSNR", "SSIM",
        "in words",
    ]  # fmt: skip
    parts = []
    for summary in summaries:
        title = (
            f"### {_KINDS[summary['kind']]}: {summary['setting']} "
            f"({summary['n_scans']} scans, {summary['n_subjects']} {_UNITS[summary['kind']]})"
        )
        cells = [_cells(row, ours) for row in summary["rows"]]
        parts.append(f"{title}\n\n{markdown_table(header, cells)}")
    return "\n\n".join(parts)


def conclusions(
    summaries: Sequence[Mapping[str, Any]], weights: Sequence[WeightsChoice]
) -> list[str]:
    """Say how ours does against each method, counted over settings.

    Parameters
    ----------
    summaries
        What `summarise` returned.
    weights
        Weights of the table, ours first.

    Returns
    -------
        Sentences.
    """
    networks = {choice.label: choice.network for choice in weights}
    sentences: list[str] = []
    for kind in _KINDS:
        single = [s for s in summaries if s["kind"] == kind and s["setting"] != ALL]
        if not single:
            continue
        for name in [row["name"] for row in single[0]["rows"] if row["name"] != weights[0].label]:
            sentences.append(_sentence(kind, name, single, networks.get(name)))
    return sentences


def _row(chosen: Sequence[ScoredScan], row: str, ours: str) -> dict[str, Any]:
    records = [(e.scan.subject, e.records[row]) for e in chosen]
    reasons = [record["refused"] for _, record in records if "refused" in record]
    if reasons:
        return {"name": row, "refused": reasons[0]}

    def by_subject(name: str, key: str) -> dict[str, float]:
        return subject_means([(e.scan.subject, e.records[name][key]) for e in chosen])

    result: dict[str, Any] = {"name": row}
    for key in ("psnr_db", "ssim", "head_psnr_db", "head_ssim", "seconds"):
        result[key] = float(np.mean(list(by_subject(row, key).values())))
    if row != ours and not any("refused" in e.records[ours] for e in chosen):
        psnr, ssim = (
            paired_difference(by_subject(ours, key), by_subject(row, key))
            for key in ("psnr_db", "ssim")
        )
        result |= {
            "psnr_difference": asdict(psnr),
            "ssim_difference": asdict(ssim),
            "texts": [psnr.text(2), ssim.text(4)],
            "verdict": verdict(psnr, ssim),
        }
    return result


def _cells(row: Mapping[str, Any], ours: str) -> list[str]:
    if "refused" in row:
        return [row["name"], *["-"] * 7, f"not possible: {row['refused']}"]
    name = f"{row['name']} (ours)" if row["name"] == ours else row["name"]
    scores = [
        f"{row[head + 'psnr_db']:.2f}" if metric == "psnr" else f"{row[head + 'ssim']:.4f}"
        for head in ("", "head_")
        for metric in ("psnr", "ssim")
    ]
    return [
        name,
        *scores,
        f"{row['seconds']:.1f}",
        *row.get("texts", ["", ""]),
        row.get("verdict", ""),
    ]


def _sentence(
    kind: Kind, name: str, settings: Sequence[Mapping[str, Any]], network: str | None
) -> str:
    """Say how ours does against one method."""
    found = {
        summary["setting"]: row
        for summary in settings
        for row in summary["rows"]
        if row["name"] == name and "verdict" in row
    }
    if not found:
        return f"{kind}: {name} could not be compared."
    known = f"{kind}, {name}"
    metrics = {"PSNR": "psnr_difference", "SSIM": "ssim_difference"}
    if name in (BEST_PSNR, BEST_SSIM):
        known += " (an upper bound: chosen per image with the truth)"
        chosen = "PSNR" if name == BEST_PSNR else "SSIM"
        metrics = {chosen: metrics[chosen]}
    parts = []
    for metric, key in metrics.items():
        behind = [setting for setting, row in found.items() if row[key]["mean"] <= 0]
        parts.append(_counted(f"ahead in mean {metric}", behind, len(found)))
    if network == "v1":
        lost = [s for s, row in found.items() if row["ssim_difference"]["mean"] < -SSIM_MARGIN]
        parts.append(_counted(f"ahead or within {SSIM_MARGIN:g} in SSIM", lost, len(found)))
    return f"{known}: ours is {', '.join(parts)}."


def _counted(claim: str, failed: Sequence[str], total: int) -> str:
    text = f"{claim} in {total - len(failed)} of {total} settings"
    return text + (f" (NOT in {'; '.join(failed)})" if failed else "")
