"""Working through a scan image by image: reconstruct, write, record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from lowfield_recon.evaluation.metrics import Scores, score
from lowfield_recon.manifest import describe_inputs, describe_result, write_manifest
from lowfield_recon.pipeline.choices import used_line
from lowfield_recon.pipeline.indices import parse_indices
from lowfield_recon.prepare.intensity import IntensityScale
from lowfield_recon.prepare.partial_fourier import PartialFourierMethod
from lowfield_recon.problem import ImageDomain, InverseProblem, Reconstruction
from lowfield_recon.progress import ProgressBars, progress_bar
from lowfield_recon.reconstructors import create
from lowfield_recon.scan.averaging import average_scan
from lowfield_recon.scan.problems import CoilCompression, CoilMapChoice, Problems, Undersampling
from lowfield_recon.scan.records import Scan
from lowfield_recon.scan.writers import Part, image_ending, open_image_writer


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """What is to be reconstructed, and how."""

    scan: Scan
    """The file."""

    method: str
    """Name of the method."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the method."""

    coil_maps: CoilMapChoice = "auto"
    """How coil maps are estimated."""

    prewhitening: bool = True
    """Whether the noise of the coils is whitened."""

    undersampling: Undersampling | None = None
    """Samples to leave out after the fact."""

    coil_compression: CoilCompression | None = None
    """How coils are compressed, None for not at all."""

    recenter: bool = False
    """Whether the centre of k-space is moved to where it should be."""

    partial_fourier: PartialFourierMethod = "zero-filled"
    """How a partial Fourier scan is filled."""

    intensity_scale: IntensityScale = "raw"
    """Whether data and noise level are divided by one number."""

    image_domain: ImageDomain = "complex"
    """Values that the image may take."""

    average_repetitions: bool = False
    """Whether repetitions and averages of each image are averaged."""

    also: tuple[Scan, ...] = ()
    """Further files of the same scan, which are averaged with it."""

    slices: str | None = None
    """Slices of each volume as the user named them; None for all."""

    part: Part | None = None
    """What is written of the complex image; None for the format's default."""

    with_seconds: bool = True
    """Whether the JSON says how long it took."""


@dataclass(slots=True)
class _Log:
    """What is recorded while images are made."""

    images: list[dict[str, Any]] = field(default_factory=list)
    scores: list[Scores] = field(default_factory=list)

    def add(
        self, job: Job, index: int, problem: InverseProblem, result: Reconstruction
    ) -> Reconstruction:
        """Record one image."""
        record = {"counters": asdict(job.scan.images[index]), "noise_std": problem.noise_std}
        record |= describe_result(result)
        if problem.reference is not None:
            peak = float(problem.reference.abs().max())
            self.scores.append(score(result.image, problem.reference, data_range=peak))
            record["score"] = asdict(self.scores[-1])
        self.images.append(record)
        return result


def run_job(job: Job, out: Path, progress: ProgressBars = progress_bar) -> Iterator[str]:
    """Reconstruct image after image into one file, with a JSON beside it.

    Parameters
    ----------
    job
        What is to be done.
    out
        File to write; its ending picks the format.
    progress
        Where progress is shown.

    Yields
    ------
        Lines for the user: what was assumed, used and written, and the score where there is one.

    Raises
    ------
    UsageError
        If a method, setting or slice does not exist, or the ending has no writer.
    DataError
        If the data cannot be reconstructed.
    """
    image_ending(out)
    reconstructor = create(job.method, dict(job.settings))
    if job.average_repetitions or job.also:
        job = replace(job, scan=average_scan(job.scan, job.also))
    problems = _problems(job)
    n_volumes, n_slices = job.scan.volume_shape
    slices = parse_indices(job.slices, n_slices)
    yield _assumptions_line(job, problems)
    inputs = describe_inputs(_input_files(job))
    log = _Log()
    with progress(job.method, n_volumes * len(slices)) as progress_of:
        first = problems[slices[0]]
        with open_image_writer(
            out,
            volume_shape=(n_volumes, len(slices)),
            image_shape=_size(first),
            geometries=[job.scan.kspace(index).geometry for index in slices],
            header=job.scan.header,
            volumes=[job.scan.images[volume * n_slices] for volume in range(n_volumes)],
            part=job.part,
        ) as writer:
            del first
            for position in range(n_volumes * len(slices)):
                volume, place = divmod(position, len(slices))
                index = volume * n_slices + slices[place]
                problem = _in_domain(problems[index], job.image_domain)
                result = reconstructor.reconstruct(problem, progress=progress_of(position))
                writer.append(log.add(job, index, problem, result).image)
    used = used_line(
        [image["settings"] for image in log.images], [image["diagnostics"] for image in log.images]
    )
    if used is not None:
        yield used
    for path in writer.paths:
        _write_json(path, job, problems, inputs, log)
        yield f"wrote {path}"
    if log.scores:
        yield _score_line(log.scores)


def _assumptions_line(job: Job, problems: Problems) -> str:
    """Say in one line what was assumed, mended and done before reconstruction."""
    repairs = [f"repaired: {repair.message}" for repair in job.scan.repairs]
    sentences = [*job.scan.assumptions, *problems.steps, *repairs]
    if job.image_domain != "complex":
        sentences.append(f"image taken to be {job.image_domain}: its phase is not reconstructed")
    return "assumed: " + "; ".join(" ".join(text.split()).rstrip(".") for text in sentences)


def _in_domain(problem: InverseProblem, domain: ImageDomain) -> InverseProblem:
    """Return the problem for images of a domain; a reference in it is what a real adjoint gives."""
    if domain == "complex":
        return problem
    reference = problem.reference
    if reference is not None:
        reference = reference.real if domain == "real" else reference.real.clamp(min=0)
    return replace(problem, image_domain=domain, reference=reference)


def _problems(job: Job) -> Problems:
    return job.scan.problems(
        coil_maps=job.coil_maps,
        prewhitening=job.prewhitening,
        undersampling=job.undersampling,
        coil_compression=job.coil_compression,
        recenter=job.recenter,
        partial_fourier=job.partial_fourier,
        intensity_scale=job.intensity_scale,
    )


def _input_files(job: Job) -> dict[str, Path]:
    also = {f"scan_{number}": scan.path for number, scan in enumerate(job.also, start=2)}
    return {"scan": job.scan.path, **also}


def _write_json(
    path: Path,
    job: Job,
    problems: Problems,
    inputs: Mapping[str, Mapping[str, str]],
    log: _Log,
) -> None:
    images = log.images
    options = {
        "coil_maps": job.coil_maps,
        "prewhitening": job.prewhitening,
        "undersampling": job.undersampling,
        "coil_compression": job.coil_compression,
        "recenter": job.recenter,
        "partial_fourier": job.partial_fourier,
        "intensity_scale": job.intensity_scale,
        "image_domain": job.image_domain,
        "average_repetitions": job.average_repetitions or bool(job.also),
        "slices": job.slices,
        "part": job.part,
        "settings": job.settings,
    }
    results: dict[str, Any] = {
        "method": job.method,
        "settings": images[0]["settings"],
        "seed": images[0]["seed"],
        "device": images[0]["device"],
        "seconds": round(sum(image["seconds"] for image in images), 4),
        "noise_std": images[0]["noise_std"],
        "stopping_reason": images[0]["diagnostics"].get("stopping_reason"),
        "data_range": [
            min(image["data_range"][0] for image in images),
            max(image["data_range"][1] for image in images),
        ],
        "repairs": job.scan.repairs,
        "assumptions": job.scan.assumptions,
        "steps": problems.steps,
        "data_divided_by": problems.scale,
    }
    if log.scores:
        results["mean_score_against_full_reconstruction"] = _mean_scores(log.scores)
    results["images"] = images
    write_manifest(
        path,
        command="reconstruct",
        inputs=inputs,
        options=options,
        results=results,
        with_seconds=job.with_seconds,
    )


def _mean_scores(scores: list[Scores]) -> dict[str, float]:
    names = ("psnr_db", "ssim", "nrmse", "hfen", "blur_effect")
    return {name: fmean(getattr(entry, name) for entry in scores) for name in names}


def _score_line(scores: list[Scores]) -> str:
    mean = _mean_scores(scores)
    return (
        f"against the reconstruction from all data, itself noisy: PSNR {mean['psnr_db']:.2f} dB, "
        f"SSIM {mean['ssim']:.4f}, NRMSE {mean['nrmse']:.4f} (mean of {len(scores)} images)"
    )


def _size(problem: InverseProblem) -> tuple[int, int, int]:
    z, y, x = problem.shape[-3:]
    return z, y, x
