"""Files as images of a study: slices of images, and complete recorded scans."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.files import sha256_of
from lowfield_recon.learning.image_set import SliceAxis, load_images
from lowfield_recon.operators.fourier import centred_fft, centred_ifft
from lowfield_recon.prepare.cropping import crop_center
from lowfield_recon.problem import InverseProblem
from lowfield_recon.scan import load_scan

ItemT = TypeVar("ItemT")

MULTIPLE = 4
"""Sizes of images are multiples of it, so that networks with two poolings take them."""

_MOST_ZEROS = 0.02
_ENDINGS = re.compile(r"(\.nii)?\.[^.]+$")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Item:
    """One slice as it was read."""

    subject: str

    name: str
    """File or subject, and slice."""

    pixels: torch.Tensor
    """`(1, 1, 1, y, x)`, largest modulus 1: float32, or complex64 of a recorded scan."""

    noise_std: float | None = None
    """Noise of a pixel of a recorded scan."""


def image_items(
    paths: Sequence[Path],
    *,
    slice_axis: SliceAxis,
    key: str | None,
    subject_pattern: str | None,
    slices: int,
    matrix: int | None,
    crop: int | None,
) -> tuple[list[Item], dict[str, str]]:
    """Read the middle slices of images, their moduli.

    Parameters
    ----------
    paths
        Files, folders, patterns.
    slice_axis, key, subject_pattern
        As for `load_images`.
    slices
        Middle slices of each subject.
    matrix
        Largest k-space.
    crop
        Largest image.

    Returns
    -------
        Slices by subject, and SHA-256 of the files by name.

    Raises
    ------
    DataError
        If a file cannot be read.
    """
    images = load_images(paths, slice_axis=slice_axis, key=key, subject_pattern=subject_pattern)
    items = []
    for subject in images.subjects:
        for index, image in middle(images.images[subject], slices):
            pixels = _cut(_coarser(image.abs(), matrix), crop)
            if not bool(pixels.any()):
                raise DataError(
                    f"{subject}, slice {index}: is zero where it was cut; choose a larger crop."
                )
            pixels = (pixels / pixels.max()).float()[None, None, None].contiguous()
            items.append(Item(subject=subject, name=f"{subject}, slice {index}", pixels=pixels))
    files = {n: digest for by in (images.files or {}).values() for n, digest in by.items()}
    return items, files


def recorded_items(
    paths: Sequence[Path],
    *,
    subject_pattern: str | None,
    slices: int,
    matrix: int | None,
    crop: int | None,
) -> tuple[list[Item], dict[str, str]]:
    """Read the middle slices of complete recorded scans.

    One coil: the scan itself with its noise, its k-space cut to `matrix`. Several coils: the root
    of the sum of squares over the coils, as an image.

    Parameters
    ----------
    paths
        Files with k-space that name their own axes.
    subject_pattern
        Regular expression with a group `subject`; None takes the file's name without its ending.
    slices
        Middle slices of each file.
    matrix
        Largest k-space.
    crop
        Largest image, of several coils.

    Returns
    -------
        Slices by file, and SHA-256 of the files by name.

    Raises
    ------
    DataError
        If a scan is no complete Cartesian scan of 2-D slices, or states no noise.
    UsageError
        If a crop is asked of a scan of one coil.
    """
    items: list[Item] = []
    files = {}
    for path in paths:
        files[path.name] = sha256_of(path)
        scan = load_scan(path)
        subject = _subject(path, subject_pattern)
        if scan.header.n_coils > 1:
            for index, image in middle(_combined(path), slices):
                pixels = _cut(_coarser(image, matrix), crop)
                pixels = (pixels / pixels.max()).float()[None, None, None].contiguous()
                items.append(
                    Item(subject=subject, name=f"{path.stem}, slice {index}", pixels=pixels)
                )
            continue
        if crop is not None:
            raise UsageError(
                f"{path.name}: is a recorded scan, which keeps its field of view; give matrix in "
                "place of crop."
            )
        for index, problem in middle(scan.problems(), slices):
            items.append(_recorded(problem, f"{path.stem}, slice {index}", subject, matrix))
    return items, files


def middle(things: Sequence[ItemT], count: int) -> list[tuple[int, ItemT]]:
    """Return the middle ones with their numbers.

    Parameters
    ----------
    things
        All.
    count
        How many at most.

    Returns
    -------
        Number and thing.

    Examples
    --------
    >>> middle("abcde", 3)
    [(1, 'b'), (2, 'c'), (3, 'd')]
    """
    start = max(0, min(len(things) // 2 - count // 2, len(things) - count))
    return [(i, things[i]) for i in range(start, min(start + count, len(things)))]


def _coarser(image: torch.Tensor, matrix: int | None) -> torch.Tensor:
    """Cut the k-space of an image `(y, x)` to a matrix and return the modulus."""
    if matrix is None or max(image.shape) <= matrix:
        return image
    return centred_ifft(
        _centre(centred_fft(image.to(torch.complex64), (-2, -1)), matrix), (-2, -1)
    ).abs()


def _cut(image: torch.Tensor, crop: int | None) -> torch.Tensor:
    """Cut about the centre, to sizes that are multiples of four."""
    for dim in (-2, -1):
        n = min(image.shape[dim], crop or image.shape[dim])
        image = crop_center(image, max(n // MULTIPLE * MULTIPLE, min(n, MULTIPLE)), dim)
    return image


def _centre(kspace: torch.Tensor, matrix: int | None) -> torch.Tensor:
    """Cut k-space to even multiples of four, at most the matrix."""
    for dim in (-2, -1):
        n = min(kspace.shape[dim], matrix or kspace.shape[dim])
        kspace = crop_center(kspace, max(n // MULTIPLE * MULTIPLE, min(n, MULTIPLE)), dim)
    return kspace


def _combined(path: Path) -> list[torch.Tensor]:
    """Return the slices of a scan of several coils, `(y, x)` each."""
    scan = load_scan(path)
    images = []
    for i in range(len(scan.images)):
        kspace = scan.kspace(i).data
        _check_complete(kspace, path.name)
        coil_images = centred_ifft(kspace, (-2, -1))
        combined = coil_images.abs().square().sum(dim=-4).sqrt()
        images += [
            image for image in combined.reshape(-1, *combined.shape[-2:]) if bool(image.any())
        ]
    return images


def _recorded(problem: InverseProblem, name: str, subject: str, matrix: int | None) -> Item:
    data = problem.data
    if tuple(data.shape[:3]) != (1, 1, 1) or data.ndim != 5:
        raise DataError(
            f"{name}: k-space {tuple(data.shape)}; expected 2-D slices, k-space (1, 1, 1, y, x). "
            "Give its reconstructed images instead, which are then scanned by simulation."
        )
    _check_complete(data, name)
    if problem.noise_std is None:
        raise DataError(
            f"{name}: states no noise level; expected one, since noise is added in its unit."
        )
    pixels = centred_ifft(_centre(data, matrix), (-2, -1)).to(torch.complex64)
    largest = float(pixels.abs().max())
    if largest == 0:
        raise DataError(f"{name}: is zero everywhere; there is nothing to scan.")
    return Item(
        subject=subject,
        name=name,
        pixels=(pixels / largest).contiguous(),
        noise_std=problem.noise_std / largest,
    )


def _check_complete(kspace: torch.Tensor, name: str) -> None:
    missing = float((kspace == 0).float().mean())
    if missing > _MOST_ZEROS:
        raise DataError(
            f"{name}: {missing:.0%} of its samples are zero; expected a complete scan, since its "
            "own reconstruction is the reference."
        )


def _subject(path: Path, pattern: str | None) -> str:
    if pattern is None:
        return _ENDINGS.sub("", path.name)
    try:
        found = re.search(pattern, path.name)
    except re.error as error:
        raise UsageError(f"subject_pattern: '{pattern}' is no expression: {error}.") from error
    if found is None or not found.groupdict().get("subject"):
        raise DataError(f"{path.name}: subject_pattern '{pattern}' finds no subject in the name.")
    return found["subject"]
