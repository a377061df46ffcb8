"""Photographs in and out: what `restore` reads, solves and writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import torch

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.evaluation.metrics import psnr, score
from lowfield_recon.files import atomic_path
from lowfield_recon.manifest import describe_inputs, describe_result, write_manifest
from lowfield_recon.pipeline.choices import used_line
from lowfield_recon.pipeline.pixels import planes_of, read_pixels
from lowfield_recon.pipeline.reconstruction_record import oracle_words
from lowfield_recon.pipeline.watching import Audience, Watch, refuse_interrupted
from lowfield_recon.problem import InverseProblem
from lowfield_recon.progress import ProgressBars, progress_bar
from lowfield_recon.reconstructors import create
from lowfield_recon.reconstructors.interruption import is_interrupted


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

    levels = _levels(pixels).to(torch.uint8).permute(1, 2, 0).numpy()
    with atomic_path(path) as temporary:
        Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels).save(temporary)
    return float(((pixels < 0) | (pixels > 1)).float().mean())


def as_written(path: Path, image: torch.Tensor) -> torch.Tensor:
    """Return the values that a photograph has in its file.

    Parameters
    ----------
    path
        The file, `.png` or `.npy`.
    image
        Photograph, grey scale 0..1.

    Returns
    -------
        The photograph clipped and rounded to 8 bits for a PNG, else as it is.

    Examples
    --------
    >>> as_written(Path("a.png"), torch.tensor([-0.25, 0.2001, 3.0]))
    tensor([0.0000, 0.2000, 1.0000])
    """
    return image if path.suffix.lower() == ".npy" else _levels(image) / 255


def _levels(image: torch.Tensor) -> torch.Tensor:
    return (image.clamp(0, 1) * 255).round()


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
    values = planes_of(read_pixels(path, what="image").values)
    if values.ndim == 2:
        values = values[None]
    if values.ndim != 3 or numpy.iscomplexobj(values):
        raise DataError(
            f"{path.name}: expected a real image (channels, y, x) or (y, x), got {values.dtype} of "
            f"shape {values.shape}."
        )
    return torch.from_numpy(numpy.array(values, dtype=numpy.float32, order="C"))[None, :, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What became of a restoration, for the user."""

    clipped: float
    """Fraction of the values that were clipped."""

    used: str | None
    """Which dictionary or weights were used, None for a method without."""

    lines: tuple[str, ...]
    """What else there is to say: the score, the preview."""

    is_interrupted: bool
    """Whether this is the best image before an interrupt."""


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
    reference: torch.Tensor | None = None,
    watch: Watch | None = None,
) -> Restored:
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
    reference
        The truth, grey scale 0..1, which the written values are scored against; the method is not
        given it.
    watch
        What is seen of the method while it runs; None for nothing.

    Returns
    -------
        What there is to tell the user.

    Raises
    ------
    UsageError
        If the method or a setting does not exist.
    DataError
        If the reference does not fit.
    KeyboardInterrupt
        If an interrupted image is not to be kept.
    """
    watch = Watch() if watch is None else watch
    reconstructor = create(method, dict(settings))
    if reference is not None:
        _check_reference(reference, problem)
    audience = Audience(watch, method, white=1.0)
    with progress(method, 1) as progress_of:
        callback = audience.admit(progress_of(0), psnr_of=_psnr_of(out, reference))
        result = reconstructor.reconstruct(problem, progress=callback)
    was_interrupted = is_interrupted(result)
    if was_interrupted:
        refuse_interrupted(watch, out, position=0, count=1)
    clipped = write_photograph(out, result.image)
    results = {
        **describe_result(result),
        "noise_std": problem.noise_std,
        "clipped_fraction": clipped,
    }
    lines = []
    if reference is not None:
        scores = score(as_written(out, result.image), reference, data_range=1.0)
        oracle = audience.oracle_record()
        results |= {"score": asdict(scores)} | ({} if oracle is None else {"oracle": oracle})
        lines.append(
            f"against the reference: PSNR {scores.psnr_db:.2f} dB, SSIM {scores.ssim:.4f}, NRMSE "
            f"{scores.nrmse:.4f}" + oracle_words([] if oracle is None else [oracle])
        )
    write_manifest(
        out,
        command="restore",
        inputs=describe_inputs(inputs),
        options=options,
        results=results,
        with_seconds=with_seconds,
    )
    return Restored(
        clipped=clipped,
        used=used_line([result.settings], [result.diagnostics]),
        lines=(*lines, *audience.lines()),
        is_interrupted=was_interrupted,
    )


def _check_reference(reference: torch.Tensor, problem: InverseProblem) -> None:
    """Refuse, before any work, a reference that the result cannot be scored against."""
    if tuple(reference.shape) != problem.shape:
        (_, found, _, *size), (_, expected, _, *wanted) = reference.shape, problem.shape
        raise DataError(
            f"reference: {found} channels of {tuple(size)} pixels; expected those of the result, "
            f"{expected} of {tuple(wanted)}."
        )
    score(reference, reference, data_range=1.0)


def _psnr_of(out: Path, reference: torch.Tensor | None) -> Callable[[torch.Tensor], float] | None:
    """Return the PSNR that an image would have in its file, or None without reference."""
    if reference is None:
        return None
    measure = partial(psnr, reference=reference, data_range=1.0)
    return lambda image: measure(as_written(out, image))
