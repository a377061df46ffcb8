"""An image file against its reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy

from lowfield_recon.evaluation.metrics import Scores, score
from lowfield_recon.manifest import describe_inputs, to_plain
from lowfield_recon.pipeline.pixels import read_pixels


def score_files(
    image: Path, reference: Path, *, data_range: float | None = None, mask: Path | None = None
) -> Scores:
    """Score an image file against a reference file; nothing is scaled or shifted to fit.

    Parameters
    ----------
    image
        PNG, JPEG, TIFF, NIfTI, DICOM, ISMRMRD images or .npy.
    reference
        Reference of the same size.
    data_range
        Range of values for PSNR and SSIM, in the unit of the reference; None takes 1 for
        photographs and else the largest magnitude of the reference.
    mask
        Image of the same size; pixels that are not 0 count. None counts all.

    Returns
    -------
        The scores of the magnitudes.

    Raises
    ------
    DataError
        If a file cannot be read or sizes differ.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.npy"
    >>> numpy.save(path, numpy.random.default_rng(0).random((16, 16)))
    >>> score_files(path, path).nrmse
    0.0
    """
    x, x_ref = read_pixels(image), read_pixels(reference, what="reference")
    if data_range is None:
        data_range = 1.0 if x_ref.is_photograph else float(numpy.abs(x_ref.values).max())
    kept = None if mask is None else read_pixels(mask, what="mask").values
    return score(x.values, x_ref.values, data_range=data_range, mask=kept)


def scores_record(
    scores: Scores, image: Path, reference: Path, mask: Path | None = None
) -> dict[str, Any]:
    """Return what is written of scores as JSON.

    Parameters
    ----------
    scores
        The scores.
    image
        The image.
    reference
        Its reference.
    mask
        The mask, or None.

    Returns
    -------
        Scores, and names and SHA-256 of the files.

    Raises
    ------
    OSError
        If a file cannot be read.
    """
    inputs: Mapping[str, Path] = {"image": image, "reference": reference}
    if mask is not None:
        inputs = {**inputs, "mask": mask}
    record: dict[str, Any] = to_plain({**asdict(scores), "inputs": describe_inputs(inputs)})
    return record
