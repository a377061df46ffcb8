"""Learning dictionaries from image files, and putting them together as a bank."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from lowfield_recon.dictionaries import Dictionary, DictionaryBank
from lowfield_recon.dictionaries.learning import LearningOptions, Progress, learn_dictionary
from lowfield_recon.dictionaries.loading import write_dictionary
from lowfield_recon.dictionaries.provenance import TRAINING_INPUT
from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.files import sha256_of
from lowfield_recon.manifest import software_versions
from lowfield_recon.operators.fourier import centred_fft, centred_ifft
from lowfield_recon.prepare import crop_center
from lowfield_recon.scan.arrays import ARRAY_FORMATS, read_array
from lowfield_recon.scan.detect import detect_format
from lowfield_recon.scan.image_reader import read_image


def training_images(
    paths: Sequence[Path],
    *,
    key: str | None = None,
    slice_axis: int = 0,
    reduction: int = 1,
    crop: int | None = None,
) -> list[torch.Tensor]:
    """Read the slices of image files as magnitudes.

    Parameters
    ----------
    paths
        NIfTI, DICOM, PNG, JPEG, TIFF, or arrays (.npy, .mat and so on).
    key
        Name of the array in files that hold several.
    slice_axis
        Axis of an array that counts slices; images (y, x) are one slice.
    reduction
        Keep only this part of k-space along both axes: 2 makes pixels twice as large.
    crop
        Largest size [pixels]; the middle is kept.

    Returns
    -------
        Images `(y, x)`, float32; slices that are zero are left out.

    Raises
    ------
    DataError
        If a file cannot be read or has another number of axes.
    UsageError
        If the reduction or crop is below 1.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.npy"
    >>> np.save(path, np.ones((3, 32, 24)))
    >>> [tuple(image.shape) for image in training_images([path], crop=16)]
    [(16, 16), (16, 16), (16, 16)]
    """
    if reduction < 1 or (crop is not None and crop < 1):
        raise UsageError(f"images: reduction and crop start at 1, got {reduction} and {crop}.")
    images = []
    for path in paths:
        for image in _slices(path, key, slice_axis):
            if bool(image.any()):
                images.append(_prepared(image, reduction, crop))
    if not images:
        raise DataError("images: no slice holds anything; give images to learn from.")
    return images


def learn_and_write(
    paths: Sequence[Path],
    out: Path,
    options: LearningOptions,
    *,
    images: Sequence[torch.Tensor],
    provenance: dict[str, Any],
    progress: Progress | None = None,
) -> Path:
    """Learn a dictionary and write it with the record of how.

    Parameters
    ----------
    paths
        The files that the images came from.
    out
        Name of the .safetensors file; the dictionary is named after it.
    options
        How to learn.
    images
        What `training_images` returned.
    provenance
        What else is to be recorded: licence, source.
    progress
        Called after each pair of images.

    Returns
    -------
        Path of the record, a JSON beside the dictionary.
    """
    learnt = learn_dictionary(images, options, name=out.stem, progress=progress)
    n = len(learnt.objective) // options.passes or 1
    record = {
        "options": asdict(options),
        "training_input": TRAINING_INPUT,
        "code_version": software_versions()["lowfield-recon"],
        "n_images": len(images),
        "image_sizes": sorted({f"{im.shape[0]}x{im.shape[1]}" for im in images}),
        "images": [{"name": path.name, "sha256": sha256_of(path)} for path in paths],
        "objective_first_pass": sum(learnt.objective[:n]) / n,
        "objective_last_pass": sum(learnt.objective[-n:]) / n,
        "n_used": int((learnt.usage > 0).sum()),
        "usage": [float(f"{value:.4g}") for value in learnt.usage],
        "reference": "https://doi.org/10.1137/17M1145689",
        **provenance,
    }
    return write_dictionary(replace(learnt.dictionary, provenance=record), out)


def write_bank(dictionaries: Sequence[Path], folder: Path) -> Path:
    """Put dictionaries with their records into a folder with an index.

    Parameters
    ----------
    dictionaries
        `.safetensors` files, each with the JSON that `learn_and_write` put beside it.
    folder
        Where to.

    Returns
    -------
        The folder.

    Raises
    ------
    DataError
        If a record is missing.
    """
    members = []
    for path in sorted(dictionaries, key=lambda p: p.stem):
        try:
            record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{path.name}: its record {path.stem}.json cannot be read.") from error
        kernels = load_file(path)["kernels"]
        members.append(Dictionary(kernels=kernels, name=path.stem, provenance=record))
    DictionaryBank.write(folder, members)
    return folder


def _slices(path: Path, key: str | None, slice_axis: int) -> list[torch.Tensor]:
    if detect_format(path) not in ARRAY_FORMATS:
        data = read_image(path).data
        magnitude = data.abs() if data.is_complex() else data
        mean = magnitude.mean(dim=-4)  # colours to grey
        return list(mean.reshape(-1, *mean.shape[-2:]))
    array = np.asarray(read_array(path, key))
    if array.ndim not in (2, 3) or not -array.ndim <= slice_axis < array.ndim:
        raise DataError(
            f"{path.name}: an array of shape {array.shape}; expected (y, x) or slices of it along "
            f"axis {slice_axis}."
        )
    stack = array[None] if array.ndim == 2 else np.moveaxis(array, slice_axis, 0)
    return [torch.from_numpy(np.abs(image).astype(np.float32)) for image in stack]


def _prepared(image: torch.Tensor, reduction: int, crop: int | None) -> torch.Tensor:
    if reduction > 1:
        kspace = centred_fft(image.to(torch.complex64), (-2, -1))
        for dim in (-2, -1):
            kspace = crop_center(kspace, image.shape[dim] // reduction, dim)
        image = centred_ifft(kspace, (-2, -1)).abs() / reduction
    for dim in (-2, -1):
        if crop is not None and image.shape[dim] > crop:
            image = crop_center(image, crop, dim)
    return image.contiguous()
