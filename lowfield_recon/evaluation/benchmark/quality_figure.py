"""One example of the quality table as a picture: reconstructions, and their errors below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lowfield_recon.files import atomic_path

_ERROR_SCALE = 0.2
_WIDTH = 2.1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """One column of the picture."""

    title: str
    caption: str
    image: NDArray[np.float64]
    """Magnitudes `(y, x)`."""


def write_comparison(
    path: Path, reference: NDArray[np.float64], panels: Sequence[Panel], *, title: str
) -> Path:
    """Draw the reference and the panels in a row, and the errors of the panels below.

    Errors ``| |x| - |x_ref| |`` are white at a fifth of the reference's largest value.

    Parameters
    ----------
    path
        PNG to write.
    reference
        Magnitudes `(y, x)`.
    panels
        Columns beside the reference, of the same size.
    title
        Line above.

    Returns
    -------
        The path.

    Raises
    ------
    DataError
        If the folder is missing.
    """
    n_columns = 1 + len(panels)
    height = _WIDTH * reference.shape[0] / reference.shape[1]
    figure = Figure(figsize=(_WIDTH * n_columns, 2 * height + 0.9))
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, n_columns, squeeze=False)
    figure.subplots_adjust(
        left=0.004, right=0.996, bottom=0.01, top=1 - 0.75 / (2 * height + 0.9), wspace=0.02,
        hspace=0.02,
    )  # fmt: skip
    figure.suptitle(title, x=0.006, y=0.995, ha="left", fontsize=9)
    peak = float(reference.max())
    for axis in axes.flat:
        axis.axis("off")
    axes[0, 0].imshow(reference, cmap="gray", vmin=0, vmax=peak)
    axes[0, 0].set_title("reference", fontsize=7.5)
    axes[1, 0].text(
        0.5, 0.5, f"errors,\nwhite at\n{_ERROR_SCALE:.0%} of the\npeak", ha="center", va="center",
        fontsize=8, transform=axes[1, 0].transAxes,
    )  # fmt: skip
    for column, panel in enumerate(panels, start=1):
        axes[0, column].imshow(panel.image, cmap="gray", vmin=0, vmax=peak)
        axes[0, column].set_title(f"{panel.title}\n{panel.caption}", fontsize=7.5)
        error = np.abs(panel.image - reference)
        axes[1, column].imshow(error, cmap="gray", vmin=0, vmax=_ERROR_SCALE * peak)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=130, facecolor="white")
    return path
