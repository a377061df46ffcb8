"""The images of `benchmark ncpr-quality`: what the user gives, or what ships."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lowfield_recon.evaluation.benchmark.published_tasks import PublishedTask
from lowfield_recon.evaluation.benchmark.quality_gathering import shipped_images
from lowfield_recon.learning.image_set import ImageSet, load_images
from lowfield_recon.prepare.cropping import crop_center
from lowfield_recon.resources import sample_path

PHOTOGRAPH = "camera.png"
"""Shipped photograph, which denoising and super-resolution take where no images are given."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QualityImage:
    """One image of the table."""

    name: str

    pixels: torch.Tensor
    """Grey levels `(y, x)`, float32, at most 1."""

    @property
    def identity(self) -> str:
        """Hash of shape and pixels."""
        content = self.pixels.contiguous().numpy().tobytes()
        return hashlib.sha256(f"{tuple(self.pixels.shape)}".encode() + content).hexdigest()[:32]

    def even(self) -> QualityImage:
        """Return the image without the last row or column of an odd number.

        Returns
        -------
            An image with even sides, which may be this one.
        """
        ny, nx = (n - n % 2 for n in self.pixels.shape)
        return QualityImage(name=self.name, pixels=self.pixels[:ny, :nx])


def quality_images(
    paths: Sequence[str], task: PublishedTask, *, slices: int = 1, crop: int | None = None
) -> tuple[QualityImage, ...]:
    """Gather the images of a task.

    Grey levels from 0 to 1 stay as they are; images with larger values, and all images of MRI, are
    divided by their maximum. Of complex images the magnitude is taken.

    Parameters
    ----------
    paths
        Files, folders or patterns; empty for the shipped photograph, or for MRI the shipped brain.
    task
        The task.
    slices
        Middle slices of each subject.
    crop
        Largest number of rows and columns to keep about the centre; None keeps all.

    Returns
    -------
        The images by name.

    Raises
    ------
    DataError
        If a file cannot be read.

    Examples
    --------
    >>> from lowfield_recon.evaluation.benchmark.published_tasks import TASKS
    >>> [image.name for image in quality_images((), TASKS["mri-8x"])]
    ['brain_4coil_t2w']
    """
    found = []
    for subject, stack in sorted(_image_set(paths, task).images.items()):
        first = (len(stack) - min(slices, len(stack)) + 1) // 2
        for number in range(first, first + min(slices, len(stack))):
            name = subject if len(stack) == 1 else f"{subject}, slice {number}"
            found.append(QualityImage(name=name, pixels=_prepared(stack[number], task, crop)))
    return tuple(found)


def _image_set(paths: Sequence[str], task: PublishedTask) -> ImageSet:
    if paths:
        return load_images(paths)
    return shipped_images() if task.kind == "mri" else load_images([sample_path(PHOTOGRAPH)])


def _prepared(image: torch.Tensor, task: PublishedTask, crop: int | None) -> torch.Tensor:
    pixels = (image.abs() if image.is_complex() else image).float()
    for dim in (0, 1):
        if crop is not None and pixels.shape[dim] > crop:
            pixels = crop_center(pixels, crop, dim)
    largest = float(pixels.max())
    if largest > 0 and (task.kind == "mri" or largest > 1):
        pixels = pixels / largest
    return pixels.contiguous()
