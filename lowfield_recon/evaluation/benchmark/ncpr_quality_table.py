"""The tables of `benchmark ncpr-quality`, and whether ours gives what the published one gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from lowfield_recon.evaluation.benchmark.tables import markdown_table

LARGEST_LOSS_DB = 0.05
"""How far the mean of ours may lie below that of the published procedure."""

LARGEST_DISAGREEMENT = 1e-4
"""Between the first iterates of the factored form and of direct convolutions, single precision."""

Records = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Records by image and row."""


def summarise(records: Records, rows: Sequence[str], pairs: Mapping[str, str]) -> dict[str, Any]:
    """Average over the images of a task.

    Parameters
    ----------
    records
        Records by image and row; a row that an image lacks is left out of its mean.
    rows
        Names of the rows in the table's order.
    pairs
        Name of ours by that of the published procedure with the same weights.

    Returns
    -------
        `rows` with mean PSNR, iterations and seconds; `pairs` with the differences ours minus
        published: mean, smallest and largest, the images of the latter two, and whether the
        published procedure had converged on all images.
    """
    summaries = []
    for row in rows:
        found = [entry[row] for entry in records.values() if row in entry]
        if found:
            summaries.append(_mean_row(row, found))
    differences = [
        _difference(records, ours, published)
        for published, ours in pairs.items()
        if all(published in entry and ours in entry for entry in records.values())
    ]
    return {"rows": summaries, "pairs": differences}


def verdict(tasks: Sequence[Mapping[str, Any]]) -> dict[str, bool]:
    """Judge the tasks.

    Parameters
    ----------
    tasks
        Each with `name`, `summary` and `disagreement` by method.

    Returns
    -------
        Each requirement in words and whether it is met; ours is judged only where the published
        procedure had converged, which size `small` does not give it time for.
    """
    met: dict[str, bool] = {}
    for task in tasks:
        for pair in task["summary"]["pairs"]:
            if not pair["has_converged"]:
                continue
            text = f"{task['name']}, {pair['ours']}: mean at most {LARGEST_LOSS_DB} dB below"
            met[f"{text} the published procedure"] = pair["mean_db"] >= -LARGEST_LOSS_DB
        for method, value in task["disagreement"].items():
            text = f"{task['name']}, {method}: the first factored iterations are the direct ones"
            met[text] = value <= LARGEST_DISAGREEMENT
    return met


def quality_tables(tasks: Sequence[Mapping[str, Any]]) -> str:
    """Write two tables per task: means over images, and the PSNR of each image.

    Parameters
    ----------
    tasks
        Each with `title`, `summary` and `records`.

    Returns
    -------
        Markdown.
    """
    parts = []
    for task in tasks:
        images = list(task["records"])
        plural = "image" if len(images) == 1 else "images"
        parts.append(f"### {task['title']} ({len(images)} {plural})\n\n{_means(task['summary'])}")
        if len(images) > 1:
            parts.append(_per_image(task["records"], task["summary"]))
    return "\n\n".join(parts)


def _mean_row(row: str, found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    counts = [record["iterations"] for record in found]
    return {
        "name": row,
        "n_images": len(found),
        "psnr_db": mean(record["psnr_db"] for record in found),
        "iterations": None if None in counts else mean(counts),
        "seconds": mean(record["seconds"] for record in found),
    }


def _difference(records: Records, ours: str, published: str) -> dict[str, Any]:
    by_image = {
        image: entry[ours]["psnr_db"] - entry[published]["psnr_db"]
        for image, entry in records.items()
    }
    smallest, largest = (choose(by_image, key=by_image.__getitem__) for choose in (min, max))
    return {
        "ours": ours,
        "published": published,
        "mean_db": mean(by_image.values()),
        "smallest_db": by_image[smallest],
        "smallest_of": smallest,
        "largest_db": by_image[largest],
        "largest_of": largest,
        "has_converged": all(
            entry[published]["stopping_reason"] == "tolerance" for entry in records.values()
        ),
    }


def _means(summary: Mapping[str, Any]) -> str:
    differences = {pair["ours"]: pair for pair in summary["pairs"]}
    cells = []
    for row in summary["rows"]:
        pair = differences.get(row["name"])
        text = "" if pair is None else (
            f"{pair['mean_db']:+.3f} ({pair['smallest_db']:+.3f} to {pair['largest_db']:+.3f})"
        )  # fmt: skip
        if pair is not None and not pair["has_converged"]:
            text += ", published cut off"
        count = "" if row["iterations"] is None else f"{row['iterations']:.0f}"
        cells.append(
            [row["name"], f"{row['psnr_db']:.3f}", text, count, f"{row['seconds']:.1f}"]
        )  # fmt: skip
    header = ["method", "PSNR [dB]", "minus published (range)", "iterations", "s"]
    return markdown_table(header, cells)


def _per_image(records: Records, summary: Mapping[str, Any]) -> str:
    rows = [row["name"] for row in summary["rows"]]
    cells = [
        [image, *(f"{entry[row]['psnr_db']:.3f}" if row in entry else "-" for row in rows)]
        for image, entry in records.items()
    ]
    return markdown_table(["PSNR [dB]", *rows], cells)
