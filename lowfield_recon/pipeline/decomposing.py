"""From a picture or a scan to the drawing of its smooth and its sparse part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.evaluation.decomposition import decomposed, write_decomposition
from lowfield_recon.manifest import describe_inputs, describe_result, write_manifest
from lowfield_recon.pipeline.choices import used_line
from lowfield_recon.pipeline.indices import parse_indices
from lowfield_recon.pipeline.photographs import read_degraded
from lowfield_recon.pipeline.restoration import build_problem
from lowfield_recon.problem import InverseProblem
from lowfield_recon.progress import ProgressBars, progress_bar
from lowfield_recon.reconstructors import create
from lowfield_recon.scan.detect import detect_format
from lowfield_recon.scan.load import load_scan
from lowfield_recon.scan.problems import Undersampling

METHODS = ("ncpr", "cpr")
"""Methods whose images are sums of two parts."""

_PICTURES = ("png", "jpeg", "tiff", "dicom", "nifti", "mrd-images")


@dataclass(frozen=True, slots=True, kw_only=True)
class DecompositionJob:
    """What is decomposed, and how."""

    file: Path
    """Picture or scan."""

    method: str = "ncpr"
    """`"ncpr"` or `"cpr"`."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the method."""

    noise_std: float | None = None
    """Of a picture: standard deviation of its noise on the grey scale 0..1, None to estimate it."""

    slices: str | None = None
    """Of a scan: which slice; None for the middle one."""

    undersampling: Undersampling | None = None
    """Of a scan: samples to leave out after the fact."""

    axes: str | None = None
    """Of a raw array: its axes; a .npy file without is a picture."""

    key: str | None = None
    """Of a raw array: its name in the file."""

    image_space: bool = False
    """Of a raw array: whether it holds coil images."""


def decompose_and_write(
    job: DecompositionJob, out: Path, progress: ProgressBars = progress_bar
) -> list[str]:
    """Draw the decomposition of a picture or of one slice of a scan, with a JSON beside it.

    A picture is decomposed by denoising it, a scan by reconstructing it.

    Parameters
    ----------
    job
        What is to be done.
    out
        PNG to write.
    progress
        Where progress is shown.

    Returns
    -------
        Lines for the user: what was assumed, used and found.

    Raises
    ------
    UsageError
        If the method or a setting does not exist, or an option does not fit the file.
    DataError
        If the file cannot be read or decomposed.
    """
    if job.method not in METHODS:
        raise UsageError(f"{job.method}: its images have no parts; expected ncpr or cpr.")
    if out.suffix.lower() != ".png":
        raise UsageError(f"{out.name}: the drawing is a picture; choose a name ending in .png.")
    reconstructor = create(job.method, {**job.settings, "keep_parts": True})
    problem, what, notes = _picture(job) if _is_picture(job) else _scan_slice(job)
    with progress(job.method, 1) as progress_of:
        result = reconstructor.reconstruct(problem, progress=progress_of(0))
    parts = decomposed(problem, result)
    title = f"{job.file.name}{what}: {job.method}, weights {result.settings['weights']}"
    write_decomposition(out, parts, title=title)
    figures = parts.figures()
    results = {
        **describe_result(result),
        "noise_std": problem.noise_std,
        "decomposition": figures,
        "assumptions": notes,
    }
    options = {
        "method": job.method,
        "noise_std": job.noise_std,
        "slices": job.slices,
        "undersampling": job.undersampling,
        "axes": job.axes,
        "key": job.key,
        "settings": job.settings,
    }
    write_manifest(
        out,
        command="decompose",
        inputs=describe_inputs({"image" if _is_picture(job) else "scan": job.file}),
        options=options,
        results=results,
    )
    used = used_line([result.settings], [result.diagnostics])
    share = figures["sparse_energy_over_image_energy"]
    found = f"the sparse part holds {share:.2%} of the energy of the image"
    said = [f"assumed: {'; '.join(notes)}"] if notes else []
    return [*said, *([used] if used else []), found, f"wrote {out}"]


def _is_picture(job: DecompositionJob) -> bool:
    found = detect_format(job.file)
    return found in _PICTURES or (found == "npy" and job.axes is None)


def _picture(job: DecompositionJob) -> tuple[InverseProblem, str, list[str]]:
    given = {
        "--slices": job.slices, "--acceleration": job.undersampling, "--key": job.key,
        "--image-space": job.image_space or None,
    }  # fmt: skip
    wrong = [name for name, value in given.items() if value is not None]
    if wrong:
        raise UsageError(
            f"{job.file.name}: a picture, for which {wrong[0]} has no meaning; leave it out, or "
            "name the axes of raw data with --axes."
        )
    picture = read_degraded(job.file)
    if picture.shape[1] not in (1, 3):
        raise DataError(
            f"{job.file.name}: expected one grey or three colour channels, got "
            f"{picture.shape[1]} planes; save one of them."
        )
    problem = build_problem(picture, "denoise", noise_std=job.noise_std)
    return problem, "", []


def _scan_slice(job: DecompositionJob) -> tuple[InverseProblem, str, list[str]]:
    if job.noise_std is not None:
        raise UsageError(
            f"{job.file.name}: --noise-std is for pictures; the noise of a scan is measured. Leave "
            "it out."
        )
    scan = load_scan(job.file, axes=job.axes, key=job.key, image_space=job.image_space)
    problems = scan.problems(undersampling=job.undersampling)
    count = scan.n_slices
    chosen = [count // 2] if job.slices is None else parse_indices(job.slices, count)
    if len(chosen) != 1:
        raise UsageError(
            f"--slices {job.slices}: one slice is drawn; name one of 0 to {count - 1}."
        )
    problem = problems[chosen[0]]
    notes = [" ".join(text.split()).rstrip(".") for text in (*scan.assumptions, *problems.steps)]
    depth = problem.shape[-3]
    what = f", slice {chosen[0]} of {count}" if count > 1 else ""
    return problem, what + (f", plane {depth // 2} of {depth}" if depth > 1 else ""), notes
