"""Coil maps that lie beside the k-space in an ISMRMRD file, as a series of images.

References
----------
Inati SJ et al. ISMRM Raw data format. Magn Reson Med 2017;77:411-421.
https://doi.org/10.1002/mrm.26089
"""

from __future__ import annotations

import logging
import math
from contextlib import closing
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import torch

from lowfield_recon.prepare.whitening import prewhiten
from lowfield_recon.scan.hdf5 import members, open_hdf5
from lowfield_recon.scan.hdf5_output import hdf5_output
from lowfield_recon.scan.records import Scan

logger = logging.getLogger(__name__)

SERIES = "coil_maps"
"""Name of the series of images."""

NOISE_STD = "simulated_noise_std"
"""User parameter that states the standard deviation of the noise of one sample."""


def append_coil_maps(path: Path, maps: torch.Tensor) -> None:
    """Add coil maps to an ISMRMRD file.

    Parameters
    ----------
    path
        The file; it must hold a data set `dataset`.
    maps
        Sensitivities, complex64: `(slices, coils, z, y, x)`, or 1 instead of slices for a volume.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "scan.h5"
    >>> append_coil_maps(file, torch.ones(1, 2, 1, 4, 4, dtype=torch.complex64))
    >>> with ismrmrd.Dataset(file, mode="r") as dataset:
    ...     dataset.read_image("coil_maps", 0).data.shape
    (2, 1, 4, 4)
    """
    with (
        hdf5_output(path, is_new=not path.exists()) as stream,
        closing(ismrmrd.Dataset(stream, mode="a" if path.stat().st_size else "w")) as dataset,
    ):
        for number, one in enumerate(maps.numpy(force=True)):
            image: Any = ismrmrd.Image.from_array(
                np.ascontiguousarray(one, dtype=np.complex64), transpose=False
            )
            image.image_type = ismrmrd.IMTYPE_COMPLEX
            image.image_index, image.slice = number + 1, number
            dataset.append_image(SERIES, image)


def stored_coil_maps(scan: Scan, noise: torch.Tensor | None = None) -> torch.Tensor | None:
    """Read the coil maps beside the k-space of a scan.

    Parameters
    ----------
    scan
        The scan.
    noise
        Noise readouts `(coils, samples)` that the samples are whitened with, or None. The maps are
        then whitened alike, which keeps the intensity of the image.

    Returns
    -------
        Maps `(1 or slices, coils, z, y, x)`, or None where the file holds none that fit.
    """
    if scan.format != "ismrmrd" or scan.header.n_coils == 1 or not scan.path.is_file():
        return None
    with open_hdf5(scan.path) as file:
        for group in members(file, scan.path.name).values():
            series = members(group, scan.path.name).get(SERIES) if hasattr(group, "keys") else None
            data = members(series, scan.path.name).get("data") if hasattr(series, "keys") else None
            if data is None:
                continue
            expected = (scan.header.n_coils, *scan.header.encoded_matrix)
            shape = tuple(getattr(data, "shape", ()))
            if shape[1:] != expected or shape[0] not in (1, scan.n_slices):
                logger.warning(
                    "%s: its coil maps %s do not fit the image %s; left aside.",
                    scan.path.name,
                    shape,
                    expected,
                )
                return None
            maps = _values(data, scan.path.name)
            if maps is None or noise is None:
                return maps
            return prewhiten(maps, noise, scale=scan.noise_scale)
    return None


def _values(data: Any, name: str) -> torch.Tensor | None:
    try:
        values = data[()]
        if values.dtype.names == ("real", "imag"):
            values = values["real"] + 1j * values["imag"]
        maps = torch.from_numpy(np.ascontiguousarray(values.astype(np.complex64)))
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError):
        logger.warning("%s: its coil maps cannot be read; left aside.", name)
        return None
    if not bool(torch.isfinite(maps).all()):
        logger.warning("%s: its coil maps are not finite; left aside.", name)
        return None
    return maps


def stated_noise_std(scan: Scan) -> float | None:
    """Return the noise level that the file states, in the unit of its samples.

    Parameters
    ----------
    scan
        The scan.

    Returns
    -------
        Standard deviation of the complex noise of one sample, or None where it is not stated. Of
        averaged repetitions it is that of the average.
    """
    value = scan.header.user_parameters.get(NOISE_STD)
    if isinstance(value, str) or value is None or not 0 <= value < float("inf"):
        return None
    return float(value) / math.sqrt(scan.noise_scale)


def stored_sentences(*, has_maps: bool, has_noise_std: bool) -> list[str]:
    """Say what is taken from the file instead of being estimated.

    Parameters
    ----------
    has_maps
        Whether the coil maps are.
    has_noise_std
        Whether the noise level is.

    Returns
    -------
        None to two sentences.

    Examples
    --------
    >>> stored_sentences(has_maps=False, has_noise_std=True)
    ['noise level as the file states it (user parameter simulated_noise_std)']
    """
    sentences = []
    if has_noise_std:
        sentences.append(f"noise level as the file states it (user parameter {NOISE_STD})")
    if has_maps:
        sentences.append(f"coil maps that the file holds (images {SERIES})")
    return sentences
