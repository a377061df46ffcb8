"""Photographs degraded on purpose, with the truth and what was done to them kept beside."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lowfield_recon.errors import DataError
from lowfield_recon.files import atomic_path, sha256_of
from lowfield_recon.pipeline.photographs import read_degraded, write_photograph
from lowfield_recon.pipeline.restoration import build_problem, read_kernel, read_mask
from lowfield_recon.problem import InverseProblem


@dataclass(frozen=True, slots=True, kw_only=True)
class Degradation:
    """What is done to a photograph: ``y = A x + e``."""

    task: str
    """`"inpaint"`, `"denoise"`, `"deblur"` or `"super-resolve"`."""

    noise_std: float = 0.02
    """Standard deviation of the white noise e on the grey scale 0..1."""

    kept_fraction: float = 0.5
    """Part of the pixels that `inpaint` keeps, chosen at random."""

    kernel: str = "gaussian:1.6"
    """Blur of `deblur`, in the words of `restore --kernel`."""

    factor: int = 2
    """How many times smaller `super-resolve` makes the image."""

    super_resolution_kernel: str | None = None
    """Blur of `super-resolve`, in the same words; None: mean of the pixels that become one."""

    seed: int = 0
    """Seed of mask and noise."""


def middle(photograph: torch.Tensor, *, crop: int | None, multiple: int = 1) -> torch.Tensor:
    """Keep the middle of a photograph.

    Parameters
    ----------
    photograph
        Photograph `(1, channels, 1, y, x)`.
    crop
        Largest size along y and x [pixels]; None for no limit.
    multiple
        Number that the sizes become a multiple of.

    Returns
    -------
        The middle, at most `multiple - 1` pixels smaller than it need be.

    Raises
    ------
    DataError
        If nothing would be left.

    Examples
    --------
    >>> middle(torch.zeros(1, 1, 1, 9, 20), crop=16, multiple=2).shape
    torch.Size([1, 1, 1, 8, 16])
    """
    sizes = [min(n, crop or n) // multiple * multiple for n in photograph.shape[-2:]]
    if min(sizes) < 1:
        raise DataError(
            f"image: {tuple(photograph.shape[-2:])} pixels are too few to make it {multiple} times "
            "smaller."
        )
    starts = [(n - size) // 2 for n, size in zip(photograph.shape[-2:], sizes, strict=True)]
    rows, columns = (slice(a, a + n) for a, n in zip(starts, sizes, strict=True))
    return photograph[..., rows, columns]


def degrade(
    photograph: torch.Tensor, degradation: Degradation
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Degrade a photograph.

    Parameters
    ----------
    photograph
        The truth, float32 `(1, channels, 1, y, x)`, grey scale 0..1.
    degradation
        What is done to it.

    Returns
    -------
        Degraded photograph, not clipped, and for `inpaint` the mask of the kept pixels, bool
        `(1, 1, 1, y, x)`, else None. Pixels that are not kept are 0.

    Raises
    ------
    UsageError
        If the task or kernel does not exist.

    Examples
    --------
    >>> image, mask = degrade(torch.full((1, 1, 1, 32, 32), 0.5), Degradation(task="denoise"))
    >>> bool((image.std() - 0.02).abs() < 0.002), mask
    (True, None)
    """
    generator = torch.Generator().manual_seed(degradation.seed)
    mask = None
    if degradation.task == "inpaint":
        size = tuple(photograph.shape[-2:])
        count = round(degradation.kept_fraction * size[0] * size[1])
        order = torch.randperm(size[0] * size[1], generator=generator)
        mask = torch.zeros(size[0] * size[1], dtype=torch.bool)
        mask[order[: max(count, 1)]] = True
        mask = mask.reshape(1, 1, 1, *size)
    (image,) = _problem(photograph, degradation, mask).operator(photograph)
    noise = torch.randn(image.shape, generator=generator, dtype=image.dtype)
    degraded = image + degradation.noise_std * noise
    return (degraded if mask is None else degraded * mask), mask


def _problem(
    photograph: torch.Tensor, degradation: Degradation, mask: torch.Tensor | None
) -> InverseProblem:
    """State the problem on an empty image, for the sake of its operator."""
    factor = degradation.factor if degradation.task == "super-resolve" else 1
    *rest, y, x = photograph.shape
    kernels = {"deblur": degradation.kernel, "super-resolve": degradation.super_resolution_kernel}
    kernel = kernels.get(degradation.task)
    return build_problem(
        torch.zeros(*rest, y // factor, x // factor),
        degradation.task,
        mask=mask,
        kernel=None if kernel is None else read_kernel(kernel),
        factor=factor if factor > 1 else None,
    )


def degrade_file(
    image: Path, out: Path, degradation: Degradation, *, crop: int | None = None
) -> tuple[Path, Path]:
    """Degrade a photograph's file, with the truth and a description beside the result.

    Parameters
    ----------
    image
        Photograph: PNG, JPEG, TIFF or .npy.
    out
        Degraded photograph to write, `.npy` (all values) or `.png` (8 bit, clipped).
    degradation
        What is done to it.
    crop
        Largest size along y and x [pixels]; the middle is kept.

    Returns
    -------
        Paths of the truth, `NAME-reference.npy`, and of the description, `NAME-degradation.json`.

    Raises
    ------
    DataError
        If the photograph cannot be read.
    UsageError
        If the ending has no writer.
    """
    multiple = degradation.factor if degradation.task == "super-resolve" else 1
    reference = middle(read_degraded(image), crop=crop, multiple=multiple)
    degraded, mask = degrade(reference, degradation)
    truth = out.with_name(f"{out.stem}-reference.npy")
    write_photograph(out, degraded)
    write_photograph(truth, reference)
    record: dict[str, Any] = {"task": degradation.task, "noise_std": degradation.noise_std}
    if mask is not None:
        mask_path = out.with_name(f"{out.stem}-mask.png")
        write_photograph(mask_path, mask.float())
        record |= {"mask": mask_path.name, "mask_sha256": sha256_of(mask_path)}
    if degradation.task == "deblur":
        record["kernel"] = degradation.kernel
    if degradation.task == "super-resolve":
        record["factor"] = degradation.factor
        if degradation.super_resolution_kernel is not None:
            record["kernel"] = degradation.super_resolution_kernel
    description = out.with_name(f"{out.stem}-degradation.json")
    record |= {"seed": degradation.seed, "source": {"name": image.name, "sha256": sha256_of(image)}}
    with atomic_path(description) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return truth, description


def degraded_problem(image: Path, description: Path) -> InverseProblem:
    """State the problem that `degrade_file` left behind.

    Parameters
    ----------
    image
        The degraded photograph.
    description
        `NAME-degradation.json`; a mask lies beside it.

    Returns
    -------
        The problem.

    Raises
    ------
    DataError
        If the description is damaged, or its mask is not the one that was used.
    """
    try:
        record = json.loads(description.read_text(encoding="utf-8"))
        mask_path = description.with_name(record["mask"]) if "mask" in record else None
        if mask_path is not None and sha256_of(mask_path) != record["mask_sha256"]:
            raise DataError(f"{mask_path.name}: is not the mask that was used; degrade again.")
        kernel = record.get("kernel")
        return build_problem(
            read_degraded(image),
            record["task"],
            mask=None if mask_path is None else read_mask(mask_path),
            kernel=None if kernel is None else read_kernel(kernel),
            factor=record.get("factor"),
            noise_std=record["noise_std"],
        )
    except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(
            f"{description.name}: is not what 'degrade' writes ({error}); degrade again."
        ) from error
