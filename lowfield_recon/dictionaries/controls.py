"""Dictionaries that know nothing of images, to tell what a learnt one is worth."""

from __future__ import annotations

import re

import torch

from lowfield_recon.dictionaries.bank import DictionaryBank
from lowfield_recon.dictionaries.record import Dictionary
from lowfield_recon.errors import UsageError

CONTROL = "control_"
"""Beginning of their names."""

_IDENTITY = f"{CONTROL}identity"
_RANDOM = re.compile(rf"{CONTROL}random_K(\d+)_k(\d+)(?:_seed(\d+))?")
_SHUFFLED = re.compile(rf"{CONTROL}shuffled_(.+?)(?:_seed(\d+))?")
_MOST = 4096


def control_dictionary(name: str) -> Dictionary:
    """Make a control by its name.

    Parameters
    ----------
    name
        `control_identity` (one kernel of one pixel), `control_random_K32_k9` (white noise of unit
        norm) or `control_shuffled_NAME` (the kernels of one that ships, the pixels of each
        shuffled); the last two may end in `_seed1`, 0 without it.

    Returns
    -------
        The dictionary, made anew, the same for the same name.

    Raises
    ------
    UsageError
        If the name is none of these.

    Examples
    --------
    >>> control_dictionary("control_identity").kernels
    tensor([[[1.]]])
    >>> control_dictionary("control_random_K8_k5").kernels.shape
    torch.Size([8, 5, 5])
    """
    if name == _IDENTITY:
        return Dictionary(
            kernels=torch.ones(1, 1, 1), name=name, provenance={"formula": "one pixel"}
        )
    drawn, shuffled = _RANDOM.fullmatch(name), _SHUFFLED.fullmatch(name)
    if drawn is not None:
        n_kernels, size, seed = (int(group or 0) for group in drawn.groups())
        if 1 <= n_kernels <= _MOST and size % 2 == 1 and size < 100:
            kernels = _noise((n_kernels, size, size), torch.Generator().manual_seed(seed))
            return Dictionary(kernels=kernels, name=name, provenance={"seed": seed})
    if shuffled is not None:
        model, seed = DictionaryBank()[shuffled[1]], int(shuffled[2] or 0)
        _, kernels = control_kernels(model.kernels, seed=seed)
        return Dictionary(kernels=kernels, name=name, provenance={"seed": seed})
    raise UsageError(
        f"dictionary '{name}': expected control_identity, control_random_K32_k9 (an odd size) or "
        "control_shuffled_NAME, the last two perhaps with _seed1 behind."
    )


def control_kernels(kernels: torch.Tensor, *, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return white noise of the same size, and the kernels with shuffled pixels.

    Parameters
    ----------
    kernels
        `(K, ky, kx)`, of unit norm.
    seed
        Seed.

    Returns
    -------
        Two sets of kernels of unit norm and of the same shape.

    Examples
    --------
    >>> noise, shuffled = control_kernels(torch.ones(2, 3, 3) / 3, seed=0)
    >>> noise.flatten(1).norm(dim=1)
    tensor([1.0000, 1.0000])
    >>> bool((shuffled == 1 / 3).all())
    True
    """
    generator = torch.Generator().manual_seed(seed)
    noise = _noise(tuple(kernels.shape), generator)
    flat = kernels.flatten(1)
    order = torch.rand(flat.shape, generator=generator).argsort(dim=1)
    return noise, flat.gather(1, order).reshape(kernels.shape)


def _noise(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    noise = torch.randn(shape, generator=generator)
    unit: torch.Tensor = noise / torch.linalg.vector_norm(noise, dim=(1, 2), keepdim=True)
    return unit
