"""Working through a scan image by image: reconstruct, write, record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from lowfield_recon.errors import UsageError
from lowfield_recon.evaluation.metrics import psnr
from lowfield_recon.manifest import describe_inputs, write_manifest
from lowfield_recon.pipeline.choices import used_line
from lowfield_recon.pipeline.indices import parse_indices
from lowfield_recon.pipeline.reconstruction_record import Log, record_of, score_line
from lowfield_recon.pipeline.uncertainty_maps import (
    UncertaintyChoice,
    UncertaintyMaps,
    open_uncertainty_maps,
)
from lowfield_recon.pipeline.watching import (
    WROTE_BEST,
    Audience,
    InterruptionError,
    Watch,
    refuse_interrupted,
)
from lowfield_recon.prepare.intensity import IntensityScale
from lowfield_recon.prepare.partial_fourier import PartialFourierMethod
from lowfield_recon.problem import ImageDomain, InverseProblem
from lowfield_recon.progress import ProgressBars, progress_bar
from lowfield_recon.reconstructors import create
from lowfield_recon.reconstructors.interruption import is_interrupted
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

    uncertainty: UncertaintyChoice | None = None
    """How a map of each pixel's standard deviation is made, None for none."""

    with_seconds: bool = True
    """Whether the JSON says how long it took."""

    watch: Watch = field(default_factory=Watch)
    """What is seen of the method while it runs."""


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
        If a method, setting or slice does not exist, the ending has no writer, an oracle is wanted
        and there is no reference, or a map of uncertainty and there is no noise or no file for it.
    DataError
        If the data cannot be reconstructed.
    InterruptionError
        If Ctrl-C ended the last image early, which then was written, or another one, in which case
        nothing was.
    KeyboardInterrupt
        If an interrupted image is not to be kept.
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
    log, audience = Log(), Audience(job.watch, job.method)
    count, was_interrupted = n_volumes * len(slices), False
    with progress(job.method, count) as progress_of:
        first = problems[slices[0]]
        _check_oracle(job, first)
        opener = partial(
            open_image_writer,
            volume_shape=(n_volumes, len(slices)),
            image_shape=_size(first),
            geometries=[job.scan.kspace(index).geometry for index in slices],
            header=job.scan.header,
            volumes=[job.scan.images[volume * n_slices] for volume in range(n_volumes)],
        )
        with (
            opener(out, part=job.part) as writer,
            open_uncertainty_maps(job.uncertainty, out, opener, first) as maps,
        ):
            del first
            for position in range(count):
                volume, place = divmod(position, len(slices))
                index = volume * n_slices + slices[place]
                problem = _in_domain(problems[index], job.image_domain)
                share = maps.share(progress_of(position))
                callback = audience.admit(
                    share(0),
                    label=f"image {position + 1} of {count}" if count > 1 else "",
                    psnr_of=_psnr_of(problem),
                )
                # Without its reference: no method can look at it.
                result = reconstructor.reconstruct(replace(problem, reference=None),
                                                   progress=callback)  # fmt: skip
                was_interrupted = is_interrupted(result)
                if was_interrupted:
                    maps.refuse_interrupted()
                    refuse_interrupted(job.watch, out, position=position, count=count)
                log.add(job.scan.images[index], problem, result, audience.oracle_record())
                writer.append(result.image)
                maps.add(reconstructor, problem, result.image, number=index,
                         counters=job.scan.images[index], share=share)  # fmt: skip
    yield from _written(job, problems, inputs, log, writer.paths, maps)
    yield from audience.lines()
    if was_interrupted:
        raise InterruptionError(WROTE_BEST)


def _written(
    job: Job,
    problems: Problems,
    inputs: Mapping[str, Mapping[str, str]],
    log: Log,
    paths: Sequence[Path],
    maps: UncertaintyMaps,
) -> Iterator[str]:
    """Write the JSON beside each file and say what was used, written and scored."""
    used = used_line(
        [image["settings"] for image in log.images], [image["diagnostics"] for image in log.images]
    )
    if used is not None:
        yield used
    results = record_of(job.method, job.scan, problems, log)
    write = partial(
        write_manifest,
        command="reconstruct",
        inputs=inputs,
        options=_options(job),
        with_seconds=job.with_seconds,
    )
    for path in paths:
        write(path, results=results)
        yield f"wrote {path}"
    if log.scores:
        yield score_line(log)
    yield from maps.written(results, noise_source=problems.noise_source, write=write)


def _options(job: Job) -> dict[str, Any]:
    return {
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
        "uncertainty": job.uncertainty,
        "settings": job.settings,
    }


def _check_oracle(job: Job, first: InverseProblem) -> None:
    if job.watch.oracle and first.reference is None:
        raise UsageError(
            "--oracle: there is no reference; expected a complete Cartesian scan and "
            "--acceleration. Leave it out."
        )


def _psnr_of(problem: InverseProblem) -> Callable[[torch.Tensor], float] | None:
    """Return the PSNR as the score has it, or None without reference."""
    if problem.reference is None:
        return None
    peak = float(problem.reference.abs().max())
    return partial(psnr, reference=problem.reference, data_range=peak)


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


def _size(problem: InverseProblem) -> tuple[int, int, int]:
    z, y, x = problem.shape[-3:]
    return z, y, x
