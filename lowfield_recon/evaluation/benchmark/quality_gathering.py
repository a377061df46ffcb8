"""The scans of a comparison from what the user gives, or from the samples that ship."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lowfield_recon.errors import UsageError
from lowfield_recon.evaluation.benchmark.quality_scans import (
    QualityScan,
    ScanPlan,
    recorded_scans,
    simulated_scans,
)
from lowfield_recon.learning.image_set import ImageSet, load_images
from lowfield_recon.operators.fourier import centred_ifft
from lowfield_recon.resources import sample_path
from lowfield_recon.scan import load_scan
from lowfield_recon.scan.detect import detect_format

RECORDED_SAMPLES = ("brain_0055t_flair.h5", "brain_0055t_t1w.h5", "brain_0055t_t2w.h5")
"""Shipped scans at 0.055 T, of one patient."""

IMAGE_SAMPLE = "brain_4coil_t2w.h5"
"""Shipped scan with little noise, whose image stands for an object where no images are given."""


def gather_scans(paths: Sequence[str], plan: ScanPlan) -> list[QualityScan]:
    """Make the scans of the paths that were given.

    Recorded scans among the paths take the place of the shipped ones, images that of the shipped
    image.

    Parameters
    ----------
    paths
        Image files, folders or patterns as for `load_images`, and files of recorded scans.
    plan
        Which scans are made of each.

    Returns
    -------
        Simulated scans, then recorded ones; each image in every setting.

    Raises
    ------
    DataError
        If a file cannot be read, or a recorded scan is not single-coil, two-dimensional, complete.
    UsageError
        If the plan asks for no slice.
    """
    if plan.slices < 1:
        raise UsageError(f"slices: expected at least 1 per subject, got {plan.slices}.")
    recorded = [path for path in paths if _is_recorded(Path(path))]
    images = [path for path in paths if path not in recorded]
    files = [Path(path) for path in recorded] or [sample_path(name) for name in RECORDED_SAMPLES]
    image_set = load_images(images) if images else shipped_images()
    return [*simulated_scans(image_set, plan), *recorded_scans(files, plan)]


def shipped_images() -> ImageSet:
    """Return the shipped image with little noise, as root of the sum of squares over its coils.

    Returns
    -------
        One subject with one slice.

    Examples
    --------
    >>> shipped_images().subjects
    ('brain_4coil_t2w',)
    """
    path = sample_path(IMAGE_SAMPLE)
    coil_images = centred_ifft(load_scan(path).kspace(0).data, (-2, -1))
    image = coil_images.abs().square().sum(dim=-4).sqrt()[0, 0]
    return ImageSet(images={path.stem: (image,)}, licence="MIT", source="gpuNUFFT demonstration")


def _is_recorded(path: Path) -> bool:
    """Tell whether a path is a file with k-space that names its own axes."""
    return path.is_file() and detect_format(path) in ("ismrmrd", "fastmri", "m4raw")
