"""The functions behind the types of steps; what they do, the commands of the same names do too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from lowfield_recon.errors import UsageError
from lowfield_recon.files import atomic_path
from lowfield_recon.manifest import manifest_path
from lowfield_recon.pipeline import restoration
from lowfield_recon.pipeline.degrading import Degradation, degrade_file, degraded_problem
from lowfield_recon.pipeline.masks import read_mask
from lowfield_recon.pipeline.photographs import (
    check_photograph_path,
    read_degraded,
    restore_and_write,
)
from lowfield_recon.pipeline.reconstruction import Job, run_job
from lowfield_recon.pipeline.scoring import score_files, scores_record
from lowfield_recon.pipeline.step import StepResult
from lowfield_recon.pipeline.step_types import (
    ConvertSettings,
    DegradeSettings,
    ReadingSettings,
    ReconstructSettings,
    RestoreSettings,
    ScoreSettings,
    SimulateSettings,
    TableSettings,
)
from lowfield_recon.pipeline.tables import read_rows, write_table
from lowfield_recon.prepare.undersampling import MaskKind
from lowfield_recon.problem import InverseProblem
from lowfield_recon.progress import ProgressBars
from lowfield_recon.reconstructors import create
from lowfield_recon.scan import load_scan
from lowfield_recon.scan.convert import convert_to_ismrmrd
from lowfield_recon.scan.problems import CoilCompression, Undersampling
from lowfield_recon.scan.records import Scan
from lowfield_recon.scan.writers import image_ending
from lowfield_recon.simulation.recipe import recipe_from
from lowfield_recon.simulation.scan_file import simulate_scan


def reconstruct_step(
    settings: ReconstructSettings, out: Path, progress: ProgressBars
) -> StepResult:
    """Reconstruct a scan, as `lowfield-recon reconstruct` does."""
    compression, left_out = settings.coil_compression, settings.undersampling
    job = Job(
        scan=_scan(settings.scan, settings),
        also=tuple(_scan(path, settings) for path in settings.also),
        method=settings.method,
        settings=_with_device(settings.settings, settings.device),
        coil_maps=settings.coil_maps,
        prewhitening=settings.prewhitening,
        coil_compression=None
        if compression is None
        else CoilCompression(
            method=compression.method,
            virtual_coils=compression.virtual_coils,
            energy=compression.energy,
        ),
        recenter=settings.recenter,
        partial_fourier=settings.partial_fourier,
        intensity_scale=settings.intensity_scale,
        image_domain=settings.image_domain,
        average_repetitions=settings.average_repetitions,
        undersampling=None
        if left_out is None
        else Undersampling(
            acceleration=left_out.acceleration,
            calibration_lines=left_out.calibration_lines,
            kind=cast(MaskKind, left_out.kind),
            seed=left_out.seed,
        ),
        slices=settings.slices,
        part=settings.part,
        with_seconds=False,
    )
    notes = tuple(line for line in run_job(job, out, progress) if not line.startswith("wrote "))
    image = out if out.exists() else next(iter(sorted(out.parent.glob("*_magnitude*"))), out)
    return StepResult(outputs={"image": image, "record": manifest_path(image)}, notes=notes)


def restore_step(settings: RestoreSettings, out: Path, progress: ProgressBars) -> StepResult:
    """Restore a photograph, as `lowfield-recon restore` does."""
    inputs = {
        "image": settings.image,
        "mask": settings.mask,
        "degradation": settings.degradation,
    }
    restored = restore_and_write(
        _restoration(settings),
        out,
        method=settings.method,
        settings=_with_device(settings.settings, settings.device),
        inputs={role: path for role, path in inputs.items() if path is not None},
        options=settings.model_dump(
            include={"task", "noise_std", "kernel", "factor", "mask_per_channel"}
        ),
        progress=progress,
        with_seconds=False,
    )
    notes = () if restored.used is None else (restored.used,)
    if restored.clipped:
        notes = (*notes, f"{restored.clipped:.2%} of the values clipped to 0..1")
    return StepResult(outputs={"image": out, "record": manifest_path(out)}, notes=notes)


def degrade_step(settings: DegradeSettings, out: Path, _progress: ProgressBars) -> StepResult:
    """Degrade a photograph."""
    degradation = Degradation(
        task=settings.task,
        noise_std=settings.noise_std,
        kept_fraction=settings.kept_fraction,
        per_channel=settings.per_channel,
        kernel=settings.kernel,
        factor=settings.factor,
        seed=settings.seed,
    )
    reference, record = degrade_file(settings.image, out, degradation, crop=settings.crop)
    return StepResult(outputs={"image": out, "reference": reference, "degradation": record})


def convert_step(settings: ConvertSettings, out: Path, _progress: ProgressBars) -> StepResult:
    """Write a raw array as ISMRMRD, as `lowfield-recon convert` does."""
    notes = convert_to_ismrmrd(settings.array, out, **_reading(settings))
    return StepResult(outputs={"scan": out}, notes=tuple(notes))


def simulate_step(settings: SimulateSettings, out: Path, _progress: ProgressBars) -> StepResult:
    """Simulate the scan of an image, as `lowfield-recon simulate` does."""
    notes = simulate_scan(
        settings.image,
        out,
        recipe_from(settings.recipe),
        matrix=_zyx(settings.matrix, 1),
        fov_m=_metres(settings.fov_mm),
        voxel_m=_metres(settings.voxel_mm),
    )
    return StepResult(outputs={"scan": out}, notes=tuple(notes))


def score_step(settings: ScoreSettings, out: Path, _progress: ProgressBars) -> StepResult:
    """Score an image, as `lowfield-recon score` does."""
    scores = score_files(
        settings.image, settings.reference, data_range=settings.data_range, mask=settings.mask
    )
    record = scores_record(scores, settings.image, settings.reference, settings.mask)
    text = json.dumps({"labels": settings.labels, **record}, indent=2, ensure_ascii=False)
    with atomic_path(out) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    return StepResult(outputs={"scores": out})


def table_step(settings: TableSettings, out: Path, _progress: ProgressBars) -> StepResult:
    """Collect scores or records in a table."""
    rows = read_rows(settings.rows, settings.columns)
    written = write_table(out, list(settings.columns), rows)
    return StepResult(outputs=dict(zip(("csv", "markdown"), written, strict=True)))


def check_method(settings: Mapping[str, Any], _name: str) -> None:
    """Refuse methods and settings of methods that do not exist."""
    create(settings["method"], settings["settings"])


def check_image_name(_settings: Mapping[str, Any], name: str) -> None:
    """Refuse names of images that no writer takes."""
    image_ending(Path("not-there") / name)


def check_photograph_name(_settings: Mapping[str, Any], name: str) -> None:
    """Refuse names of photographs that no writer takes."""
    check_photograph_path(Path(name))


def check_recipe(settings: Mapping[str, Any], _name: str) -> None:
    """Refuse recipes of simulation that do not exist or contradict themselves."""
    recipe_from(settings["recipe"])


def check_restoration(settings: Mapping[str, Any], _name: str) -> None:
    """Refuse what does not belong to a task; what `degrade` describes needs no check."""
    if settings["task"] is not None:
        restoration.check_task(
            settings["task"],
            mask=settings.get("mask") is not None,
            kernel=settings["kernel"] is not None,
            factor=settings["factor"] is not None,
        )
        if settings["mask_per_channel"] and settings.get("mask") is None:
            raise UsageError("mask_per_channel: has no meaning without a mask; leave it out.")
    elif settings.get("degradation") is None:
        raise UsageError("task: is missing; give it, or the degradation that 'degrade' describes.")


def _restoration(settings: RestoreSettings) -> InverseProblem:
    if settings.degradation is not None:
        if (settings.task, settings.mask, settings.kernel, settings.factor) != (None,) * 4:
            raise UsageError("degradation: says task, mask, kernel and factor; leave these out.")
        return degraded_problem(settings.image, settings.degradation)
    return restoration.build_problem(
        read_degraded(settings.image),
        settings.task or "",
        mask=None
        if settings.mask is None
        else read_mask(settings.mask, per_channel=settings.mask_per_channel),
        kernel=None if settings.kernel is None else restoration.read_kernel(settings.kernel),
        factor=settings.factor,
        noise_std=settings.noise_std,
    )


def _with_device(settings: Mapping[str, Any], device: str) -> dict[str, Any]:
    return {"device": device, **settings}


def _scan(path: Path, settings: ReadingSettings) -> Scan:
    return load_scan(path, **_reading(settings))


def _reading(settings: ReadingSettings) -> dict[str, Any]:
    """Return the reader's options, lengths in metres and sizes along z, y, x."""
    options = settings.model_dump(
        include={"axes", "key", "image_space", "trajectory_key", "field_strength_t"}
    )
    fov_m, matrix = _metres(settings.fov_mm), _zyx(settings.matrix, 1)
    return {**options, "fov_m": fov_m, "matrix": matrix}


def _metres(extents: tuple[float, ...] | None) -> tuple[float | None, float, float] | None:
    """Turn lengths along x, y and perhaps z [mm] into (z, y, x) [m]."""
    if extents is None:
        return None
    x, y, *z = (extent / 1000 for extent in extents)
    return (z[0] if z else None, y, x)


def _zyx(sizes: tuple[int, ...] | None, depth: int) -> tuple[int, int, int] | None:
    """Turn sizes along x, y and perhaps z into (z, y, x)."""
    if sizes is None:
        return None
    x, y, *z = sizes
    return (z[0] if z else depth, y, x)
