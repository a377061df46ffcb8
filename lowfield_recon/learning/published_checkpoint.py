"""What a checkpoint of the authors' program of NCPR and CPR holds, read without running code.

References
----------
Ducotterd S et al. Learning of patch-based smooth-plus-sparse models for image reconstruction.
arXiv:2412.13070
"""

from __future__ import annotations

import hashlib
import io
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lowfield_recon.errors import DataError
from lowfield_recon.files import require_file

LARGEST_CHECKPOINT = 16 * 2**20
"""Checkpoints above this many bytes are not opened; the published ones have 657,314."""

_LARGEST_CONTENT = 4 * LARGEST_CHECKPOINT
_NAMES = {
    "atoms": "atoms",
    "free_atoms": "free_atoms",
    "beta": "beta",
    "prox.scaling_lmbda": "scaling",
}
"""Name of a tensor in a checkpoint, and ours."""

# What the unpickler and the readers below it raise on damaged or hostile content.
_UNREADABLE = (
    AttributeError, EOFError, ImportError, IndexError, KeyError, MemoryError, OSError,
    OverflowError, RecursionError, RuntimeError, TypeError, ValueError, zipfile.BadZipFile,
)  # fmt: skip


class _DictParams(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)
    atom_size: int
    nb_atoms: int
    nb_free_atoms: int
    beta_init: float


class _ProxParams(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)
    prox_type: Literal["l0norm", "l1norm"]
    lambda_init: float
    order: float | None = None
    groupsize: int = 1


class _TrainingOptions(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)
    batch_size: int | None = None
    epochs: int | None = None
    lr_atoms: float | None = None
    lr_hyper: float | None = None
    lr_decay: float | None = None


class PublishedConfig(BaseModel):
    """What the authors' program writes of its settings, as far as it matters here."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)
    dict_params: _DictParams
    prox_params: _ProxParams
    sigma: float
    training_options: _TrainingOptions = Field(default_factory=_TrainingOptions)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CheckpointContent:
    """A checkpoint whose content is what it must be, apart from the sizes of its tensors."""

    name: str
    """Name of the file."""

    n_bytes: int
    """Size of the file [bytes]."""

    sha256: str
    """Hash of the file."""

    config: PublishedConfig
    """Settings of the training."""

    state: dict[str, torch.Tensor]
    """Raw parameters under our names, finite, float32."""


def read_published_checkpoint(path: Path) -> CheckpointContent:
    """Read a checkpoint of the authors' program, without running any code that it may hold.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
        Its settings and parameters; the optimiser's state is left aside.

    Raises
    ------
    DataError
        If there is no such file, or it is damaged, holds more than tensors and plain values, lacks
        something or has something that does not belong there.
    OSError
        If it cannot be read.
    """
    size = require_file(path, "checkpoint").stat().st_size
    if size > LARGEST_CHECKPOINT:
        raise DataError(
            f"{path.name}: {size} bytes; expected a checkpoint of at most {LARGEST_CHECKPOINT}."
        )
    content = path.read_bytes()
    found = _unpack(content, path.name)
    return CheckpointContent(
        name=path.name,
        n_bytes=size,
        sha256=hashlib.sha256(content).hexdigest(),
        config=_read_config(found["config"], path.name),
        state=_read_state(found["state_dict"], path.name),
    )


def first_complaint(error: ValidationError) -> str:
    """Say the first of pydantic's complaints in a few words.

    Parameters
    ----------
    error
        What pydantic raised.

    Returns
    -------
        Where it is, and what is wrong there.
    """
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"]) or "as a whole"
    return f"is wrong at '{place}' ({' '.join(first['msg'].lower().split())[:100]})"


def _unpack(content: bytes, name: str) -> dict[str, Any]:
    """Return what a checkpoint holds: plain values and tensors, nothing else is ever made."""
    advice = "expected a checkpoint.pth of the authors' program, as torch.save writes it"
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except _UNREADABLE as error:
        raise DataError(
            f"{name}: is damaged, truncated, or no archive of torch; {advice}. Copy it again."
        ) from error
    if unpacked > _LARGEST_CONTENT:
        raise DataError(f"{name}: unpacks to {unpacked} bytes; {advice}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is odd is refused below, in our words
            found = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{name}: is damaged, or holds more than tensors and plain values, in which code could "
            f"hide; none was run. {advice.capitalize()}. Beware of it if it is not from there."
        ) from error
    except _UNREADABLE as error:
        raise DataError(f"{name}: is damaged; {advice}. Copy it again.") from error
    if not isinstance(found, dict) or not {"state_dict", "config"} <= set(found):
        raise DataError(f"{name}: lacks 'state_dict' or 'config'; {advice}.")
    odd = [str(key) for key in found if key not in ("state_dict", "config", "optimizer")]
    if odd:
        raise DataError(f"{name}: holds '{odd[0][:60]}', which does not belong there; {advice}.")
    return found


def _read_config(config: object, name: str) -> PublishedConfig:
    try:
        return PublishedConfig.model_validate(config)
    except ValidationError as error:
        raise DataError(
            f"{name}: its config {first_complaint(error)}; expected dict_params, prox_params and "
            "sigma as the authors' program writes them."
        ) from error


def _read_state(state: object, name: str) -> dict[str, torch.Tensor]:
    """Return the parameters under our names, single precision; shapes are checked later."""
    if not isinstance(state, Mapping):
        raise DataError(f"{name}: its state_dict is no dictionary; expected tensors by name.")
    for key in sorted({*_NAMES, *map(str, state)}):
        value = state.get(key)
        if key not in _NAMES or value is None:
            what = f"lacks '{key}'" if key in _NAMES else f"has an unknown '{key[:60]}'"
            raise DataError(f"{name}: its state_dict {what}; expected {', '.join(_NAMES)}.")
        if not (isinstance(value, torch.Tensor) and value.layout == torch.strided):
            raise DataError(f"{name}: '{key}' is no plain tensor; expected one of real numbers.")
        if value.dtype != torch.float32:
            raise DataError(f"{name}: '{key}' is {value.dtype}; expected torch.float32.")
        if value.numel() > _LARGEST_CONTENT or not bool(torch.isfinite(value).all()):
            raise DataError(
                f"{name}: '{key}' holds NaN or infinite values, or too many; expected finite "
                "numbers. Copy the file again."
            )
    found = {ours: state[theirs].detach() for theirs, ours in _NAMES.items()}
    scaling = found["scaling"]
    if scaling.ndim != 4 or scaling.shape[0] != 1 or scaling.shape[2:] != (1, 1):
        raise DataError(
            f"{name}: 'prox.scaling_lmbda' has shape {tuple(scaling.shape)}; expected (1, K, 1, 1)."
        )
    return {**found, "scaling": scaling.flatten()}
