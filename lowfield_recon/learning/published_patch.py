"""The authors' checkpoints of NCPR and CPR: read without running code, checked, converted.

References
----------
Ducotterd S et al. Learning of patch-based smooth-plus-sparse models for image reconstruction.
arXiv:2412.13070
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lowfield_recon.errors import DataError
from lowfield_recon.learning.patch_figures import prior_figures
from lowfield_recon.learning.patch_parameters import load_parameters
from lowfield_recon.learning.patch_prior import (
    ARCHITECTURE_VERSION,
    PatchPrior,
    PatchPriorSettings,
)
from lowfield_recon.learning.published_checkpoint import (
    CheckpointContent,
    PublishedConfig,
    first_complaint,
    read_published_checkpoint,
)
from lowfield_recon.learning.weight_files import save_weights

_FILE = "checkpoint.pth"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedCheckpoint:
    """One of the four files that the authors published."""

    name: str
    """Name of the weights that ship."""

    method: str
    """`"ncpr"` or `"cpr"`."""

    file: str
    """Where it lies in the authors' folder of models."""

    sha256: str
    """Hash of the file."""


PUBLISHED = (
    PublishedCheckpoint(
        name="ncpr_sigma25",
        method="ncpr",
        file="sigma_25/NCPR/checkpoint.pth",
        sha256="385708f91c242056d8579fc89609a89af0c141c1bfc02caab650b85ec43b2d55",
    ),
    PublishedCheckpoint(
        name="ncpr_sigma5",
        method="ncpr",
        file="sigma_5/NCPR/checkpoint.pth",
        sha256="97ba9d0d068294dbf93ca3831515e6e90cca2f2e2e3f3f8b723a05fa897724f2",
    ),
    PublishedCheckpoint(
        name="cpr_sigma25",
        method="cpr",
        file="sigma_25/CPR/checkpoint.pth",
        sha256="27f0b78ad80f99d16c60e1bfe03efb1d7fc89064f52632c7e8661f7f5229ac5d",
    ),
    PublishedCheckpoint(
        name="cpr_sigma5",
        method="cpr",
        file="sigma_5/CPR/checkpoint.pth",
        sha256="6fb2365f55a6c677ab0ed6b9507fb149065b06b2f6c0c89eff35cfd46402425b",
    ),
)
"""The authors' files."""


def load_published(source: str | os.PathLike[str]) -> PatchPrior:
    """Load a checkpoint of the authors' program, without running any code that it may hold.

    The base scale, the order and the kind of potential come from its `config`, everything else from
    its `state_dict`; the optimiser's state is left aside.

    Parameters
    ----------
    source
        The `checkpoint.pth`, or its folder.

    Returns
    -------
        The prior on the CPU. Its `card` says whether it is one of the four published files, and its
        `name` is that of the weights that ship if it is.

    Raises
    ------
    DataError
        If there is no such file, or it is damaged, holds more than tensors and plain values, lacks
        something or has something that does not belong there.
    OSError
        If it cannot be read.
    """
    path = Path(source)
    content = read_published_checkpoint(path / _FILE if path.is_dir() else path)
    prior = PatchPrior(_settings(content.config, content.name))
    load_parameters(prior, content.state, content.name)
    known = next((entry for entry in PUBLISHED if entry.sha256 == content.sha256), None)
    prior.name = path.stem if known is None else known.name
    prior.card = _card(prior, content, known)
    return prior.eval()


def convert_published(source: str | os.PathLike[str], out: str | os.PathLike[str]) -> PatchPrior:
    """Convert a checkpoint of the authors' program to safetensors with a model card beside it.

    Parameters
    ----------
    source
        The `checkpoint.pth`, or its folder.
    out
        File to write; it ends in `.safetensors`. The same checkpoint gives the same bytes.

    Returns
    -------
        The prior, as `load_published` returns it.

    Raises
    ------
    UsageError
        If `out` ends otherwise.
    DataError
        If the checkpoint is refused (see `load_published`), or the folder of `out` is missing.
    """
    prior = load_published(source)
    header = {
        "method": "ncpr" if prior.settings.potential == "power" else "cpr",
        "architecture": prior.settings.model_dump(mode="json"),
        "architecture_version": ARCHITECTURE_VERSION,
    }
    save_weights(out, prior.state_dict(), header, prior.card)
    return prior


def _settings(config: PublishedConfig, name: str) -> PatchPriorSettings:
    sizes, prox = config.dict_params, config.prox_params
    is_power = prox.prox_type == "l0norm"
    described: dict[str, Any] = {
        "patch": sizes.atom_size,
        "atoms": sizes.nb_atoms,
        "free_atoms": sizes.nb_free_atoms,
        "potential": "power" if is_power else "group",
        "base_scale": prox.lambda_init,
        "initial_beta": sizes.beta_init,
        "beta_map": "relu",
    }
    described |= {"order": prox.order} if is_power else {"block": prox.groupsize}
    if is_power and prox.groupsize != 1:
        raise DataError(f"{name}: groupsize is {prox.groupsize}; expected 1 for an l0norm.")
    try:
        return PatchPriorSettings.model_validate(described)
    except ValidationError as error:
        raise DataError(
            f"{name}: its config makes no model of this package: {first_complaint(error)}."
        ) from error


def _card(
    prior: PatchPrior, content: CheckpointContent, known: PublishedCheckpoint | None
) -> dict[str, Any]:
    config = content.config
    training = {"noise_std_255": config.sigma, **config.training_options.model_dump()}
    original: dict[str, Any] = {
        "bytes": content.n_bytes,
        "sha256": content.sha256,
        "published": known is not None,
    }
    end = {
        "image_range": [0, 1],
        "n_parameters": sum(p.numel() for p in prior.parameters()),
        "figures": prior_figures(prior),
    }
    if known is None:
        return {
            "summary": "converted from a checkpoint that is not one of the four published files",
            "licence": "not known",
            "original": original,
            "training": training,
            **end,
        }
    return {
        "summary": f"published {known.method.upper()}, trained on noise of {config.sigma:g}/255",
        "licence": "MIT",
        "copyright": "Copyright (c) 2024 Stanislas Ducotterd",
        "licence_file": "LICENSE-ncpr-cpr.txt",
        "source": {
            "repository": "https://github.com/StanislasDucotterd/Smooth_Plus_Sparse_Model",
            "commit": "9677010",
            "paper": "arXiv:2412.13070",
        },
        "original": {"file": known.file, **original},
        "training": {
            "task": "denoising of Gaussian noise, mean absolute error, Adam, 29800 steps",
            "data": "patches of BSD500 in a file that the authors do not distribute",
            **training,
        },
        **end,
        "command": f"lowfield-recon weights convert {_FILE} -o {known.name}.safetensors",
    }
