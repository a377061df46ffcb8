"""`lowfield-recon reconstruct`: raw data in, image out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lowfield_recon.cli.options import (
    MASK_WORDS,
    AxesOption,
    DeviceOption,
    DictionaryOption,
    FieldStrengthOption,
    FovOption,
    ImageSpaceOption,
    KeyOption,
    MaskKind,
    MatrixOption,
    MethodOption,
    SetOption,
    TrajectoryOption,
    add_dictionary,
    parse_fov,
    parse_matrix,
    parse_seed,
    parse_settings,
)
from lowfield_recon.cli.settings_file import SettingsFileOption, add_settings_file
from lowfield_recon.cli.watch_options import (
    BudgetOption,
    PreviewOption,
    PreviewSecondsOption,
    add_budget,
    check_preview,
)
from lowfield_recon.errors import UsageError
from lowfield_recon.files import check_output_path, require_file

if TYPE_CHECKING:
    from lowfield_recon.pipeline.uncertainty_maps import UncertaintyChoice
    from lowfield_recon.scan.problems import CoilCompression, Undersampling

_File = Annotated[
    Path, typer.Argument(metavar="FILE", help="Scan: ISMRMRD, fastMRI, M4Raw, .npy, .mat, BART.")
]
_Out = Annotated[
    Path,
    typer.Option(
        "-o",
        "--out",
        help="Image: .nii.gz, .h5 (ISMRMRD images), .png or .npy; a name without an ending, or "
        "ending in .dicom, makes a folder of DICOM.",
    ),
]
_Slices = Annotated[
    str | None, typer.Option(metavar="LIST", help="Only these, counted from 0, e.g. 0,2-5.")
]
_Part = Annotated[
    Literal["magnitude", "phase", "complex", "both"] | None,
    typer.Option(
        help="What is written; both: magnitude and phase. Default: complex for .h5 and .npy, "
        "magnitude for the others.",
    ),
]
_CoilMaps = Annotated[
    Literal["auto", "espirit", "walsh", "inati"],
    typer.Option(help="How coil maps are estimated; auto: espirit."),
]
_NoPrewhitening = Annotated[
    bool, typer.Option("--no-prewhitening", help="Leave the noise of the coils correlated.")
]
_Acceleration = Annotated[
    float | None,
    typer.Option(metavar="R", min=1, help="First leave out all but 1 in R lines (and score)."),
]
_CalibrationLines = Annotated[
    int, typer.Option(metavar="N", min=0, help="With --acceleration: central lines kept.")
]
_MaskKind = Annotated[
    MaskKind,
    typer.Option(metavar="KIND", help=f"With --acceleration: which lines are kept: {MASK_WORDS}."),
]
_CoilCompression = Annotated[
    Literal["none", "svd", "geometric"],
    typer.Option(help="Compress coils: one matrix (svd), or one per readout position (geometric)."),
]
_VirtualCoils = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="With --coil-compression: virtual coils.")
]
_CompressionEnergy = Annotated[
    float | None,
    typer.Option(metavar="E", help="With --coil-compression: part of the energy kept, e.g. 0.95."),
]
_Recenter = Annotated[
    bool, typer.Option("--recenter", help="Move k-space so that its centre is where it should be.")
]
_PartialFourier = Annotated[
    Literal["zero-filled", "homodyne", "pocs"],
    typer.Option(help="How a partial Fourier scan is filled; zero-filled: counted as unknown."),
]
_AverageRepetitions = Annotated[
    bool,
    typer.Option("--average-repetitions", help="Average repetitions after aligning their phases."),
]
_Also = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="Another file of the same scan, averaged with it; repeat."),
]
_IntensityScale = Annotated[
    Literal["raw", "unit"],
    typer.Option(help="unit: divide the data by one robust number, so that images are about 1."),
]
_ImageDomain = Annotated[
    Literal["complex", "real", "nonnegative"],
    typer.Option(
        help="Values that the image may take. Measured images have a phase: complex. real and "
        "nonnegative suit k-space made from magnitudes, as in published single-coil benchmarks; "
        "what an imaginary part would explain is lost.",
    ),
]
_Oracle = Annotated[
    bool,
    typer.Option(
        "--oracle",
        help="With --acceleration: record the best PSNR on the way too, chosen with the reference. "
        "Its time counts into a budget.",
    ),
]
_Seed = Annotated[
    str,
    typer.Option(help="With --acceleration: seed of random lines; for fastMRI also a file's name."),
]
_Uncertainty = Annotated[
    int | None,
    typer.Option(
        metavar="DRAWS",
        help="Also write the standard deviation of each pixel, as OUT with _std before its ending, "
        "from DRAWS (at least 2) more reconstructions of each image with new noise. It shows "
        "variance, not bias.",
    ),
]
_UncertaintySeed = Annotated[
    int | None,
    typer.Option(metavar="N", help="With --uncertainty: seed of the noise.  [default: 0]"),
]


def reconstruct(
    file: _File,
    out: _Out,
    method: MethodOption = "tv",
    settings: SetOption = None,
    settings_file: SettingsFileOption = None,
    dictionary: DictionaryOption = None,
    device: DeviceOption = "auto",
    slices: _Slices = None,
    part: _Part = None,
    coil_maps: _CoilMaps = "auto",
    no_prewhitening: _NoPrewhitening = False,
    coil_compression: _CoilCompression = "none",
    virtual_coils: _VirtualCoils = None,
    compression_energy: _CompressionEnergy = None,
    recenter: _Recenter = False,
    partial_fourier: _PartialFourier = "zero-filled",
    average_repetitions: _AverageRepetitions = False,
    also: _Also = None,
    intensity_scale: _IntensityScale = "raw",
    image_domain: _ImageDomain = "complex",
    acceleration: _Acceleration = None,
    calibration_lines: _CalibrationLines = 24,
    mask_kind: _MaskKind = "random",
    seed: _Seed = "0",
    axes: AxesOption = None,
    key: KeyOption = None,
    image_space: ImageSpaceOption = False,
    trajectory: TrajectoryOption = None,
    fov: FovOption = None,
    matrix: MatrixOption = None,
    field_strength: FieldStrengthOption = None,
    budget: BudgetOption = None,
    preview: PreviewOption = None,
    preview_seconds: PreviewSecondsOption = None,
    oracle: _Oracle = False,
    uncertainty: _Uncertainty = None,
    uncertainty_seed: _UncertaintySeed = None,
) -> None:
    """Reconstruct a scan.

    Works through the file image by image, so that memory does not grow with their number. What was
    done, with which settings and versions, is written to a JSON beside each image.

    Ctrl-C ends a method that fits networks early: of a single image the best so far is written.
    """
    chosen = parse_settings(settings)
    fov_m, size = parse_fov(fov), parse_matrix(matrix)
    for path in (file, *(also or [])):
        require_file(path, "scan")
    check_output_path(out)
    if oracle and acceleration is None:
        raise UsageError("--oracle: needs --acceleration R, which gives it a reference.")
    seconds = check_preview(preview, preview_seconds, taken=(file, out, *(also or [])))
    add_dictionary(chosen, dictionary, method)
    add_budget(chosen, budget, method)
    add_settings_file(chosen, settings_file, method)
    from lowfield_recon.pipeline.reconstruction import Job, run_job
    from lowfield_recon.pipeline.watching import Watch
    from lowfield_recon.scan import load_scan

    chosen.setdefault("device", device)
    taken = (file, preview, *(also or []))
    maps = _uncertainty(uncertainty, uncertainty_seed, out=out, taken=taken)
    scan, *others = (
        load_scan(
            path,
            axes=axes,
            key=key,
            image_space=image_space,
            trajectory_key=trajectory,
            fov_m=fov_m,
            matrix=size,
            field_strength_t=field_strength,
        )
        for path in (file, *(also or []))
    )
    job = Job(
        scan=scan,
        method=method,
        settings=chosen,
        coil_maps=coil_maps,
        prewhitening=not no_prewhitening,
        undersampling=_undersampling(acceleration, calibration_lines, mask_kind, seed),
        coil_compression=_compression(coil_compression, virtual_coils, compression_energy),
        recenter=recenter,
        partial_fourier=partial_fourier,
        intensity_scale=intensity_scale,
        image_domain=image_domain,
        average_repetitions=average_repetitions,
        also=tuple(others),
        slices=slices,
        part=part,
        uncertainty=maps,
        watch=Watch(preview=preview, preview_seconds=seconds, oracle=oracle, keep_interrupted=True),
    )
    for line in run_job(job, out):
        typer.echo(line)


def _uncertainty(
    draws: int | None, seed: int | None, *, out: Path, taken: Iterable[Path | None]
) -> UncertaintyChoice | None:
    if draws is None:
        if seed is not None:
            raise UsageError("--uncertainty-seed: expected --uncertainty DRAWS beside it.")
        return None
    from lowfield_recon.pipeline.uncertainty_maps import UncertaintyChoice, std_path

    std_path(out, taken)
    return UncertaintyChoice(draws=draws, seed=seed or 0)


def _compression(
    method: Literal["none", "svd", "geometric"], virtual_coils: int | None, energy: float | None
) -> CoilCompression | None:
    from lowfield_recon.scan.problems import CoilCompression

    if method != "none":
        return CoilCompression(method=method, virtual_coils=virtual_coils, energy=energy)
    if virtual_coils is not None or energy is not None:
        raise UsageError(
            "--virtual-coils and --compression-energy: expected --coil-compression svd or "
            "geometric beside them."
        )
    return None


def _undersampling(
    acceleration: float | None,
    calibration_lines: int,
    kind: MaskKind,
    seed: str,
) -> Undersampling | None:
    from lowfield_recon.scan.problems import Undersampling

    if acceleration is None:
        return None
    return Undersampling(
        acceleration=acceleration,
        calibration_lines=calibration_lines,
        kind=kind,
        seed=parse_seed(seed),
    )
