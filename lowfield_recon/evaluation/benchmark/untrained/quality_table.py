"""The tables of `benchmark untrained-quality`: means, paired differences, what was to be shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from lowfield_recon.evaluation.benchmark.quality_statistics import (
    Difference,
    paired_difference,
    subject_means,
)
from lowfield_recon.evaluation.benchmark.tables import markdown_table
from lowfield_recon.evaluation.benchmark.untrained.quality_problems import (
    INPAINTING,
    LOW_FIELD,
    MIXED,
    MULTI_COIL,
    SCAN_TASKS,
)
from lowfield_recon.evaluation.benchmark.untrained.quality_rows import (
    DIP,
    LABELS,
    MG_SPAIR,
    MG_SPAIR_GRADES,
    MG_SPAIR_GRADES_PLAIN,
    MG_SPAIR_PLAIN,
    MG_SPAIR_WIRE,
    MG_SPAIR_WIRE_PLAIN,
    NGR,
    TV,
)

PAIRS = (
    (NGR, DIP), (MG_SPAIR, DIP), (MG_SPAIR, MG_SPAIR_PLAIN), (NGR, TV), (DIP, TV), (MG_SPAIR, TV),
    (MG_SPAIR_GRADES, MG_SPAIR), (MG_SPAIR_GRADES_PLAIN, MG_SPAIR_PLAIN),
    (MG_SPAIR_WIRE, MG_SPAIR), (MG_SPAIR_WIRE, MG_SPAIR_WIRE_PLAIN),
)  # fmt: skip

TITLES = {
    **{name: f"inpainting, {rate:.0%} of all values" for name, rate in INPAINTING.items()},
    "text": "inpainting under a text",
    MIXED: "blur 1.5, factor 2, noise 0.03, 30 % missing",
    MULTI_COIL: "4-coil brain, R = 4",
    LOW_FIELD: "0.055 T brain, R = 2",
}

NGR_ABOVE_DIP_DB = 0.5
MG_SPAIR_ABOVE_DIP_DB = 1.0
SPARSE_TERM_DB = 1.0
RULE_BELOW_ORACLE_DB = 0.3

_COUNTS = ("iterations", "chosen_iteration")
_PASTED = "pasted_psnr_db"

Records = Sequence[Mapping[str, Any]]
"""One entry per run: `task`, `image`, `seed`, `row`, and its scores or `refused`."""


def summarise(records: Records) -> list[dict[str, Any]]:
    """Average each task over images and seeds, and compare methods on the same problems.

    Parameters
    ----------
    records
        One entry per run.

    Returns
    -------
        Per task its `rows` and `pairs`. Each mean is over images, of means over seeds; intervals
        are bootstraps over images.
    """
    tasks = list(dict.fromkeys(record["task"] for record in records))
    return [_task(task, [r for r in records if r["task"] == task]) for task in tasks]


def verdict(summaries: Sequence[Mapping[str, Any]]) -> dict[str, bool]:
    """Judge the tasks.

    Parameters
    ----------
    summaries
        Of `summarise`.

    Returns
    -------
        Each requirement in words and whether it is met, of what was run.
    """
    met: dict[str, bool] = {}
    for summary in summaries:
        task = summary["task"]
        gains = {(p["ours"], p["other"]): p["psnr_db"]["mean"] for p in summary["pairs"]}
        wanted = [((NGR, DIP), NGR_ABOVE_DIP_DB)] if task in INPAINTING else []
        if task == MIXED:
            wanted.append(((MG_SPAIR, DIP), MG_SPAIR_ABOVE_DIP_DB))
        if task == "inpaint-50":
            wanted.append(((MG_SPAIR, MG_SPAIR_PLAIN), SPARSE_TERM_DB))
        if task in SCAN_TASKS:
            wanted.append(((NGR, TV), 0.0))
        for (ours, other), least in wanted:
            if (ours, other) in gains:
                text = f"{task}: {ours} at least {least:g} dB above {_label(other)}"
                met[text] = gains[ours, other] >= least
        for row in summary["rows"] if task in SCAN_TASKS else ():
            if row["name"] in (DIP, NGR):
                text = f"{task}: the rule of {row['name']} within {RULE_BELOW_ORACLE_DB} dB of"
                met[f"{text} the oracle"] = row["rule_minus_oracle_db"] >= -RULE_BELOW_ORACLE_DB
    return met


def quality_tables(summaries: Sequence[Mapping[str, Any]]) -> str:
    """Write the tables of all tasks.

    Parameters
    ----------
    summaries
        Of `summarise`.

    Returns
    -------
        Markdown: per task the methods, then the differences.
    """
    parts = []
    for summary in summaries:
        task = summary["task"]
        count = f"{_plural(summary['n_images'], 'image')}, {_plural(summary['n_seeds'], 'seed')}"
        parts.append(f"### {task}: {TITLES.get(task, task)} ({count})\n\n{_rows(summary)}")
        if summary["pairs"]:
            parts.append(_pairs(summary))
        parts += [f"- {text}" for text in summary["refused"]]
    return "\n\n".join(parts)


def _task(task: str, records: Records) -> dict[str, Any]:
    scored = [record for record in records if "refused" not in record]
    names = list(dict.fromkeys(record["row"] for record in scored))
    by_row = {name: [r for r in scored if r["row"] == name] for name in names}
    return {
        "task": task,
        "n_images": len({record["image"] for record in records}),
        "n_seeds": len({record["seed"] for record in records}),
        "rows": [_row(name, found) for name, found in by_row.items()],
        "pairs": [
            pair
            for ours, other in PAIRS
            if (pair := _pair(by_row.get(ours, ()), by_row.get(other, ()), ours, other)) is not None
        ],
        "refused": [
            f"{record['row']} on {record['image']}, seed {record['seed']}: {record['refused']}"
            for record in records
            if "refused" in record
        ],
    }


def _row(name: str, found: Records) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": name,
        "n_runs": len(found),
        "psnr_db": _interval(_by_image(found, "psnr_db")),
        "ssim": _interval(_by_image(found, "ssim")),
        "seconds": mean(record["seconds"] for record in found),
    }
    for key in (*_COUNTS, _PASTED):
        values = [record[key] for record in found if record.get(key) is not None]
        if values:
            row[key] = mean(values)
    if all("oracle_psnr_db" in record for record in found):
        row["oracle_psnr_db"] = _mean_of_images(found, "oracle_psnr_db")
        row["rule_minus_oracle_db"] = row["psnr_db"]["mean"] - row["oracle_psnr_db"]
    return row


def _pair(ours: Records, other: Records, name: str, other_name: str) -> dict[str, Any] | None:
    """Return the differences on the problems that both solved."""
    known = {(record["image"], record["seed"]): record for record in other}
    both = [(r, known[r["image"], r["seed"]]) for r in ours if (r["image"], r["seed"]) in known]
    if not both:
        return None
    return {
        "ours": name,
        "other": other_name,
        **{
            key: _interval(subject_means([(a["image"], a[key] - b[key]) for a, b in both]))
            for key in ("psnr_db", "ssim")
        },
    }


def _by_image(found: Records, key: str) -> dict[str, float]:
    return subject_means([(record["image"], float(record[key])) for record in found])


def _mean_of_images(found: Records, key: str) -> float:
    return mean(_by_image(found, key).values())


def _interval(means: Mapping[str, float]) -> dict[str, Any]:
    found = paired_difference(means, dict.fromkeys(means, 0.0))
    return {"mean": found.mean, "low": found.low, "high": found.high, "n_images": found.n_subjects}


def _rows(summary: Mapping[str, Any]) -> str:
    has_pasted = any(_PASTED in row for row in summary["rows"])
    cells = []
    for row in summary["rows"]:
        rule = row.get("rule_minus_oracle_db")
        cell = [
            _label(row["name"]),
            _mean_text(row["psnr_db"], 2),
            *([f"{row[_PASTED]:.2f}"] if has_pasted else []),
            f"{row['ssim']['mean']:.4f}",
            "" if rule is None else f"{row['oracle_psnr_db']:.2f}",
            "" if rule is None else f"{rule:+.2f}",
            *("" if key not in row else f"{row[key]:.0f}" for key in _COUNTS),
            f"{row['seconds']:.1f}",
        ]
        cells.append(cell)
    header = [
        "method", "PSNR [dB, 95 %]", *(["observed put in"] if has_pasted else []), "SSIM",
        "oracle's PSNR", "rule - oracle", "iterations", "chosen", "s",
    ]  # fmt: skip
    return markdown_table(header, cells)


def _pairs(summary: Mapping[str, Any]) -> str:
    cells = [
        [
            f"{pair['ours']} - {_label(pair['other'])}",
            *(_difference(pair[key]).text(digits) for key, digits in (("psnr_db", 2), ("ssim", 4))),
        ]
        for pair in summary["pairs"]
    ]
    return markdown_table(["difference", "PSNR [dB, 95 %]", "SSIM [95 %]"], cells)


def _difference(entry: Mapping[str, Any]) -> Difference:
    return Difference(
        mean=entry["mean"], low=entry["low"], high=entry["high"], n_subjects=entry["n_images"]
    )


def _mean_text(entry: Mapping[str, Any], digits: int) -> str:
    return _difference(entry).text(digits).replace("+", "")


def _label(name: str) -> str:
    return LABELS.get(name, name)


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
