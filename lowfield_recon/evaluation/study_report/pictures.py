"""The images of a study's panels as pictures: magnitudes, errors with their sign, maps.

Every method of a panel is shown on the same scales, so that what looks different is different.
"""

from __future__ import annotations

import io
import math
import zipfile
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from lowfield_recon.evaluation.study_report.content import Entry, finite

Pixels: TypeAlias = NDArray[np.float64]
"""Values of a picture `(y, x)`."""

_ERROR_QUANTILE = 0.995
_MAP_QUANTILE = 0.999
_LEVELS = 65


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StudyPanel:
    """One object under one condition, as every method shows it."""

    condition: str
    """Name of the condition."""

    image: str
    """Name of the image."""

    seed: str
    """Seed of masks and noise, or empty."""

    reference: Pixels | None
    """Magnitudes that the methods should find, or None."""

    images: Mapping[str, Pixels]
    """Magnitudes by method."""

    errors: Mapping[str, Pixels]
    """Magnitude minus the reference, by method; only where the sizes agree."""

    maps: Mapping[str, Pixels]
    """Sparsity-level maps by method, averaged over filters."""

    deviations: Mapping[str, Pixels]
    """Standard deviations per pixel by method."""

    white: float
    """Value shown as white."""

    error_limit: float
    """Error shown in the strongest colours, in the unit of the image."""

    map_limit: float
    """Sparsity level shown brightest."""

    deviation_limit: float
    """Standard deviation shown brightest."""


def read_panel(entry: Entry, folder: Path) -> StudyPanel | str:
    """Read the arrays of a panel.

    Parameters
    ----------
    entry
        Entry of the section `panels`.
    folder
        Folder with the files of panels.

    Returns
    -------
        The panel, or why it cannot be shown, in one line.
    """
    name = Path(str(entry["file"])).name
    try:
        with (folder / name).open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {key: _flat(stored[key]) for key in stored.files}
    except FileNotFoundError:
        return f"{name}: the file is missing"
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        return f"{name}: cannot be read ({type(error).__name__})"
    for key, array in arrays.items():
        if array.ndim != 2 or array.size == 0 or not np.isfinite(array).all():
            return f"{name}: {key} is not a finite picture (y, x), its shape is {array.shape}"
    reference = arrays.get("reference")
    images = _of(arrays, "image")
    if not images and reference is None:
        return f"{name}: holds neither a reference nor images"
    errors = {
        method: image - reference
        for method, image in images.items()
        if reference is not None and image.shape == reference.shape
    }
    shown = [reference] if reference is not None else list(images.values())
    maps, deviations = _of(arrays, "lambda"), _of(arrays, "std")
    return StudyPanel(
        condition=str(entry["condition"]),
        image=str(entry["image"]),
        seed=str(entry.get("seed", "")),
        reference=reference,
        images=images,
        errors=errors,
        maps=maps,
        deviations=deviations,
        white=finite(entry.get("data_range")) or max(float(array.max()) for array in shown) or 1.0,
        error_limit=_limit(errors, _ERROR_QUANTILE),
        map_limit=_limit(maps, _MAP_QUANTILE),
        deviation_limit=_limit(deviations, _MAP_QUANTILE),
    )


def grey_source(image: Pixels, white: float) -> str:
    """Return magnitudes as the source of an HTML image, 0 black and `white` white.

    Parameters
    ----------
    image
        Magnitudes.
    white
        Value shown as white.

    Returns
    -------
        A `data:` address of a PNG.

    Examples
    --------
    >>> grey_source(np.eye(2), 1.0)[:22]
    'data:image/png;base64,'
    """
    levels = np.clip(image / (white if white > 0 else 1.0), 0, 1) * 255
    return _source(Image.fromarray(levels.round().astype(np.uint8)))


def error_source(error: Pixels, limit: float) -> str:
    """Return errors as the source of an HTML image: blue too dark, black right, orange too bright.

    Parameters
    ----------
    error
        Image minus reference.
    limit
        Size of the error that has the strongest colour.

    Returns
    -------
        A `data:` address of a PNG.
    """
    return _indexed(error / (2 * limit) + 0.5, error_colours())


def map_source(values: Pixels, limit: float) -> str:
    """Return a map as the source of an HTML image, dark is 0 and yellow `limit`.

    Parameters
    ----------
    values
        Numbers that are not negative.
    limit
        Value shown brightest.

    Returns
    -------
        A `data:` address of a PNG.
    """
    return _indexed(values / limit, map_colours())


def scale_source(colours: NDArray[np.uint8]) -> str:
    """Return a scale of colours as the source of an HTML image, lowest left.

    Parameters
    ----------
    colours
        Colours `(n, 3)`.

    Returns
    -------
        A `data:` address of a PNG.
    """
    return _source(Image.fromarray(colours[None]))


def error_colours() -> NDArray[np.uint8]:
    """Return the colours of errors, lowest first.

    Returns
    -------
        Colours `(65, 3)`, black in the middle.
    """
    stops = np.array(
        [[0.65, 0.95, 1.0], [0.0, 0.45, 0.85], [0.0, 0.0, 0.0], [0.85, 0.35, 0.0], [1.0, 0.93, 0.6]]
    )
    at, known = np.linspace(0, 1, _LEVELS), np.linspace(0, 1, len(stops))
    colours = np.stack([np.interp(at, known, stops[:, i]) for i in range(3)], axis=1)
    return (colours * 255).round().astype(np.uint8)


def map_colours() -> NDArray[np.uint8]:
    """Return the colours of maps, lowest first.

    Returns
    -------
        Colours `(65, 3)`.
    """
    colours: NDArray[np.uint8] = colormaps["viridis"](np.linspace(0, 1, _LEVELS), bytes=True)
    return colours[:, :3]


def _flat(array: NDArray[np.generic]) -> Pixels:
    """Return magnitudes `(y, x)`; leading axes of one are dropped, several are averaged."""
    real = np.abs(array) if np.iscomplexobj(array) else array
    values = np.asarray(real, dtype=np.float64)
    while values.ndim > 2:
        values = values.mean(axis=0)
    return values


def _of(arrays: Mapping[str, Pixels], kind: str) -> dict[str, Pixels]:
    prefix = f"{kind}:"
    return {k.removeprefix(prefix): array for k, array in arrays.items() if k.startswith(prefix)}


def _limit(pictures: Mapping[str, Pixels], quantile: float) -> float:
    """Return the end of the scale that all of them share, of two digits and never 0."""
    if not pictures:
        return 1.0
    values = np.concatenate([np.abs(picture).ravel() for picture in pictures.values()])
    found = float(np.quantile(values, quantile))
    found = found if found > 0 else float(values.max())
    if found <= 0:
        return 1.0
    unit = 10.0 ** (math.floor(math.log10(found)) - 1)
    return float(math.ceil(found / unit - 1e-9) * unit)


def _indexed(fractions: Pixels, colours: NDArray[np.uint8]) -> str:
    """Encode fractions from 0 to 1 as a PNG with a palette, which is a third of one in colours."""
    levels = np.clip(np.floor(fractions * _LEVELS), 0, _LEVELS - 1).astype(np.uint8)
    picture = Image.frombytes("P", (levels.shape[1], levels.shape[0]), levels.tobytes())
    picture.putpalette(colours.tobytes())
    return _source(picture)


def _source(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + b64encode(buffer.getvalue()).decode("ascii")
