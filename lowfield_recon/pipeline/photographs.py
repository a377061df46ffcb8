"""Photographs in and out: what `restore` reads, solves and writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
import torch

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.files import atomic_path
from lowfield_recon.manifest import describe_inputs, describe_result, write_manifest
from lowfield_recon.pipeline.choices import used_line
from lowfield_recon.pipeline.pixels import read_pixels
from lowfield_recon.problem import InverseProblem
from lowfield_recon.progress import ProgressBars, progress_bar
from lowfield_recon.reconstructors import create


def write_photograph(path: Path, image: torch.Tensor) -> float:
    """Write a photograph as 8-bit PNG, clipped to 0..1, or as .npy with all its values.

    Parameters
    ----------
    path
        File to write, `.png` or `.npy`.
    image
        Photograph `(1, channels, 1, y, x)`, one or three channels.

    Returns
    -------
        Fraction of the values that were clipped.

    Raises
    ------
    UsageError
        If the ending is another one, or the number of channels does not fit a PNG.
    """
    pixels = image.detach().cpu()[0, :, 0]
    if path.suffix.lower() == ".npy":
        with atomic_path(path) as temporary:
            numpy.save(temporary, pixels.numpy()[0] if len(pixels) == 1 else pixels.numpy())
        return 0.0
    check_photograph_path(path)
    if len(pixels) not in (1, 3):
        raise UsageError(f"{path.name}: a PNG holds 1 or 3 channels, the image has {len(pixels)}.")
    from PIL import Image

    levels = (pixels.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    with atomic_path(path) as temporary:
        Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels).save(temporary)
    return float(((pixels < 0) | (pixels > 1)).float().mean())


def check_photograph_path(path: Path) -> None:
    """Check the ending of a photograph's name.

    Parameters
    ----------
    path
        File to be written.

    Raises
    ------
    UsageError
        If it is neither `.png` nor `.npy`.

    Examples
    --------
    >>> check_photograph_path(Path("restored.png"))
    """
    if path.suffix.lower() not in (".png", ".npy"):
        raise UsageError(
            f"{path.name}: expected the ending .png (8 bit) or .npy (all values), got "
            f"'{path.suffix}'; a lossy format would spoil the result."
        )


def read_degraded(path: Path) -> torch.Tensor:
    """Read the photograph that is to be restored.

    Parameters
    ----------
    path
        PNG, JPEG, TIFF or .npy file.

    Returns
    -------
        Photograph, float32 `(1, channels, 1, y, x)`.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    values = numpy.atleast_2d(numpy.squeeze(read_pixels(path, what="image").values))
    if values.ndim == 2:
        values = values[None]
    if values.ndim != 3 or numpy.iscomplexobj(values):
        raise DataError(
            f"{path.name}: expected a real image (channels, y, x) or (y, x), got {values.dtype} of "
            f"shape {values.shape}."
        )
    return torch.from_numpy(numpy.array(values, dtype=numpy.float32, order="C"))[None, :, None]


def restore_and_write(
    problem: InverseProblem,
    out: Path,
    *,
    method: str,
    settings: Mapping[str, Any],
    inputs: Mapping[str, Path],
    options: Mapping[str, Any],
    progress: ProgressBars = progress_bar,
    with_seconds: bool = True,
) -> tuple[float, str | None]:
    """Solve the problem, write the photograph and the JSON beside it.

    Parameters
    ----------
    problem
        Degraded photograph as an inverse problem.
    out
        File to write, `.png` or `.npy`.
    method
        Name of the method.
    settings
        Its settings.
    inputs
        Role and path of every file that was read.
    options
        What to record of the command's options.
    progress
        Where progress is shown.
    with_seconds
        Whether the JSON says how long it took.

    Returns
    -------
        Fraction of the values that were clipped, and the line that says which dictionary or weights
        were used, None for a method without.

    Raises
    ------
    UsageError
        If the method or a setting does not exist.
    """
    reconstructor = create(method, dict(settings))
    with progress(method, 1) as progress_of:
        result = reconstructor.reconstruct(problem, progress=progress_of(0))
    clipped = write_photograph(out, result.image)
    results = {
        **describe_result(result),
        "noise_std": problem.noise_std,
        "clipped_fraction": clipped,
    }
    write_manifest(
        out,
        command="restore",
        inputs=describe_inputs(inputs),
        options=options,
        results=results,
        with_seconds=with_seconds,
    )
    return clipped, used_line([result.settings], [result.diagnostics])
