"""Photographs as grey levels, crops of them, and atoms to start a training with."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch.nn import functional

from lowfield_recon.errors import DataError
from lowfield_recon.learning.image_set import ImageSet
from lowfield_recon.learning.patch_prior import PatchPrior

_LOG = logging.getLogger(__name__)
_PATCHES = 20_000
_STRIDE = 1_000_003


def grey_levels(images: ImageSet) -> ImageSet:
    """Return real images from 0 to 1: the modulus, over the largest of a subject that exceeds 1.

    Parameters
    ----------
    images
        Any images.

    Returns
    -------
        The images; what lies between 0 and 1 already is as it was.

    Examples
    --------
    >>> images = ImageSet(images={"a": (torch.eye(2), 4 * torch.eye(2))})
    >>> [float(image.max()) for image in grey_levels(images).images["a"]]
    [0.25, 1.0]
    """
    found = {}
    for subject, slices in images.images.items():
        moduli = tuple(image.abs().float() for image in slices)
        peak = max(float(image.max()) for image in moduli)
        if peak > 1:
            _LOG.info("%s: divided by its largest value %.4g", subject, peak)
            moduli = tuple(image / peak for image in moduli)
        found[subject] = moduli
    return replace(images, images=found)


def large_enough(images: ImageSet, crop: int) -> list[torch.Tensor]:
    """Return the images that hold a crop; it is logged how many do not.

    Parameters
    ----------
    images
        Images.
    crop
        Side of the crop [pixels].

    Returns
    -------
        Images `(y, x)`, by subject.

    Raises
    ------
    DataError
        If there is none.

    Examples
    --------
    >>> len(large_enough(ImageSet(images={"a": (torch.ones(8, 8),)}), 8))
    1
    """
    slices = [image for subject in images.subjects for image in images.images[subject]]
    found = [image for image in slices if min(image.shape) >= crop]
    if len(found) < len(slices):
        _LOG.warning(
            "%d of %d images are smaller than a crop", len(slices) - len(found), len(slices)
        )
    if not found:
        raise DataError(
            f"images: none has {crop} pixels along both sides; give larger ones, or lower "
            "examples.crop."
        )
    return found


def random_crop(
    images: Sequence[torch.Tensor], side: int, turned: bool, generator: torch.Generator
) -> torch.Tensor:
    """Cut a random square out of a random image, and turn and mirror it.

    Parameters
    ----------
    images
        Images `(y, x)`.
    side
        Side of the square [pixels].
    turned
        Whether to turn and mirror it, all eight positions alike.
    generator
        Where the numbers come from.

    Returns
    -------
        A view of the image, `(side, side)`.

    Examples
    --------
    >>> random_crop([torch.ones(8, 9)], 4, True, torch.Generator().manual_seed(0)).shape
    torch.Size([4, 4])
    """

    def draw(below: int) -> int:
        return int(torch.randint(below, (1,), generator=generator))

    image = images[draw(len(images))]
    y, x = draw(image.shape[0] - side + 1), draw(image.shape[1] - side + 1)
    square = image[y : y + side, x : x + side]
    if turned:
        square = torch.rot90(square, draw(4))
        square = square.mT if draw(2) else square
    return square


def centre(image: torch.Tensor, side: int, block: int) -> torch.Tensor:
    """Cut out the centre; its sides are multiples of the block.

    Parameters
    ----------
    image
        Image `(y, x)`.
    side
        Largest side [pixels].
    block
        What the sides are multiples of.

    Returns
    -------
        A view of the image.

    Examples
    --------
    >>> centre(torch.ones(9, 5), 8, 2).shape
    torch.Size([8, 4])
    """
    sizes = [min(n, side) // block * block for n in image.shape]
    (y, x), (n_y, n_x) = ((n - s) // 2 for n, s in zip(image.shape, sizes, strict=True)), sizes
    return image[y : y + n_y, x : x + n_x]


@torch.no_grad()
def start_from_patches(model: PatchPrior, images: Sequence[torch.Tensor], *, seed: int = 0) -> None:
    """Begin with patches of the images as atoms and their principal components as smooth basis.

    All rows are scaled to length 1; atoms come from the livelier half of the patches.

    Parameters
    ----------
    model
        Model whose atoms, and free atoms where it has some, are overwritten.
    images
        Real, `(y, x)`, not smaller than a patch.
    seed
        Which patches.

    Raises
    ------
    DataError
        If the images are too flat for that.

    Examples
    --------
    >>> from lowfield_recon.learning.patch_prior import PatchPriorSettings
    >>> model = PatchPrior(PatchPriorSettings(patch=3, atoms=4, free_atoms=4))
    >>> start_from_patches(model, [torch.arange(81.0).reshape(9, 9).sin()])
    >>> bool(torch.allclose(model.atoms.detach().flatten(1).norm(dim=1), torch.ones(4)))
    True
    """
    side = model.settings.patch
    generator = torch.Generator().manual_seed(seed * _STRIDE + _STRIDE - 2)
    patches = torch.stack([random_crop(images, side, True, generator) for _ in range(_PATCHES)])
    rows = patches.flatten(1).double()
    rows = rows - rows.mean(dim=1, keepdim=True)
    shape = model.atoms.shape
    if hasattr(model, "free_atoms"):
        _, vectors = torch.linalg.eigh(rows.mT @ rows)
        count = model.settings.n_smooth
        model.free_atoms.copy_(vectors[:, -count:].mT.reshape(count, *shape[1:]))
    lengths = rows.norm(dim=1)
    chosen = rows[(lengths >= lengths.median()) & (lengths > 0)][: shape[0]]
    if len(chosen) < shape[0]:
        raise DataError(
            f"images: expected patches for {shape[0]} atoms, but most of them are flat; give other "
            "images, or begin with 'start: gaussian'."
        )
    model.atoms.copy_(functional.normalize(chosen, dim=1).reshape(shape))
