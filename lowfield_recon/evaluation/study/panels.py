"""The pictures of a study, gathered from what was kept of its rows."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowfield_recon.evaluation.study.extras import UncertaintyJob, deviation_file
from lowfield_recon.evaluation.study.jobs import RowJob, kept_image
from lowfield_recon.evaluation.study.setup import StudySetup
from lowfield_recon.evaluation.study.writing import write_panel

FOLDER = "panels"
_LONGEST = 60

Place = tuple[str, str, int]


def write_panels(
    setup: StudySetup,
    rows: Sequence[RowJob],
    maps: Sequence[UncertaintyJob],
    folder: Path,
    threads: int,
) -> list[dict[str, Any]]:
    """Write one file of arrays for each chosen image, condition and seed.

    Parameters
    ----------
    setup
        The study.
    rows
        All rows; those that kept an image are shown, failures are missing.
    maps
        Uncertainty per pixel.
    folder
        Folder of the study.
    threads
        Threads of the rows.

    Returns
    -------
        The section `panels` of the record.
    """
    pictures: dict[Place, dict[str, NDArray[np.float32]]] = {}
    domains: dict[Place, str] = {}
    for row in rows:
        if row.image_folder is None:
            continue
        place = (row.case.condition, row.case.image, row.case.seed)
        path = kept_image(row.image_folder, row.key(threads))
        if path.is_file():
            with np.load(path, allow_pickle=False) as kept:
                shown = pictures.setdefault(place, {})
                shown.setdefault("reference", kept["reference"])
                shown[f"image:{row.arm.name}"] = kept["image"]
                if "lambda" in kept.files:
                    shown[f"lambda:{row.arm.name}"] = kept["lambda"]
            domains[place] = row.case.domain
    for job in maps:
        if job.image_folder is not None:
            place = (job.row.case.condition, job.row.case.image, job.row.case.seed)
            path = deviation_file(job.image_folder, job.key(threads))
            if path.is_file() and place in pictures:
                pictures[place][f"std:{job.row.arm.name}"] = np.load(path, allow_pickle=False)
    target = folder / FOLDER
    target.mkdir(exist_ok=True)
    written = []
    for place, shown in pictures.items():
        name = f"{_file_stem(place)}.npz"
        write_panel(target / name, shown)
        written.append(
            {
                "condition": place[0],
                "image": place[1],
                "seed": place[2],
                "file": name,
                "methods": [arm.name for arm in setup.arms if f"image:{arm.name}" in shown],
                "data_range": float(shown["reference"].max()),
                "domain": domains[place],
            }
        )
    for left in set(target.glob("*.npz")) - {target / str(entry["file"]) for entry in written}:
        left.unlink()
    return written


def _file_stem(place: Place) -> str:
    """Return a name that every file system takes, and that no other panel has."""
    words = "-".join(str(part) for part in place)
    plain = re.sub(r"[^A-Za-z0-9.=_-]+", "_", words)[:_LONGEST]
    return f"{plain}-{hashlib.sha256(repr(place).encode()).hexdigest()[:8]}"
