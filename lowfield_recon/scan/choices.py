"""Whether what a caller chose for the preparation of a scan exists and fits."""

from __future__ import annotations

import logging
from typing import Literal

import torch

from lowfield_recon.errors import UsageError, nearest_name
from lowfield_recon.prepare.partial_fourier import PARTIAL_FOURIER_METHODS
from lowfield_recon.scan.preparation import Undersampling
from lowfield_recon.scan.records import Scan, Shape

logger = logging.getLogger(__name__)

CoilMapChoice = Literal["auto", "espirit", "walsh", "inati"] | torch.Tensor

_METHODS = ("auto", "espirit", "walsh", "inati")
_SCALES = ("raw", "unit")
_SAMPLES_PER_COIL = 10


def image_matrix(scan: Scan, keep_oversampling: bool) -> Shape:
    """Return the encoded grid, cut to the field of view of the image.

    A Cartesian grid is cut along the readout only; with a trajectory every axis can be.

    Parameters
    ----------
    scan
        The scan.
    keep_oversampling
        Cut nothing.

    Returns
    -------
        Size (z, y, x).
    """
    header = scan.header
    encoded, fov, recon_fov = header.encoded_matrix, header.encoded_fov_m, header.recon_fov_m
    if keep_oversampling or fov is None or recon_fov is None:
        return encoded
    cut = [
        min(n, round(n * image / whole)) if image and whole else n
        for n, whole, image in zip(encoded, fov, recon_fov, strict=True)
    ]
    if header.trajectory in ("cartesian", "epi"):
        return (encoded[0], encoded[1], max(cut[2], 1))
    return (max(cut[0], 1), max(cut[1], 1), max(cut[2], 1))


def usable_noise(scan: Scan) -> torch.Tensor | None:
    """Return the noise readouts if they determine the covariance of the coils; warn if not.

    Parameters
    ----------
    scan
        The scan.

    Returns
    -------
        Noise `(coils, samples)`, or None.
    """
    noise = scan.noise
    if noise is None:
        return None
    if noise.shape[1] < _SAMPLES_PER_COIL * noise.shape[0]:
        logger.warning(
            "%s: %d noise samples do not determine the covariance of %d coils; not whitened.",
            scan.path.name,
            noise.shape[1],
            noise.shape[0],
        )
        return None
    return noise


def check_words(
    partial_fourier: str, intensity_scale: str, undersampling: Undersampling | None
) -> None:
    """Check the names of partial Fourier methods and intensity scales.

    Parameters
    ----------
    partial_fourier
        How a partial Fourier scan is filled.
    intensity_scale
        What data are divided by.
    undersampling
        Samples to be left out, or None.

    Raises
    ------
    UsageError
        If a word is not known, or two choices do not go together.
    """
    if partial_fourier not in PARTIAL_FOURIER_METHODS:
        raise UsageError(
            f"partial_fourier '{partial_fourier}': "
            f"{nearest_name(partial_fourier, PARTIAL_FOURIER_METHODS)}"
        )
    if intensity_scale not in _SCALES:
        raise UsageError(
            f"intensity_scale '{intensity_scale}': {nearest_name(intensity_scale, _SCALES)}"
        )
    if undersampling is not None and partial_fourier != "zero-filled":
        raise UsageError(
            f"partial_fourier '{partial_fourier}': does not go with samples that are left out "
            "after the fact; use 'zero-filled', or leave the acceleration out."
        )


def check_coil_maps(choice: CoilMapChoice, scan: Scan) -> None:
    """Check the name of a calibration, or the size of given coil maps.

    Parameters
    ----------
    choice
        Name or maps.
    scan
        The scan.

    Raises
    ------
    UsageError
        If there is no such name, or the maps do not fit the coils and images.
    """
    if not isinstance(choice, torch.Tensor):
        if choice not in _METHODS:
            raise UsageError(f"coil_maps '{choice}': {nearest_name(choice, _METHODS)}")
        return
    n_coils, counts = scan.header.n_coils, (1, scan.n_slices, len(scan.images))
    fits = choice.ndim in (4, 5) and choice.shape[-4] == n_coils
    if not (fits and choice.is_complex() and (choice.ndim == 4 or choice.shape[0] in counts)):
        raise UsageError(
            f"coil_maps: expected complex ({n_coils}, z, y, x), or one of these for each slice or "
            f"image, got {choice.dtype} of shape {tuple(choice.shape)}."
        )
