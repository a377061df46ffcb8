"""`lowfield-recon reconstruct`: raw data in, image out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lowfield_recon.cli.options import (
    AxesOption,
    DeviceOption,
    FieldStrengthOption,
    FovOption,
    ImageSpaceOption,
    KeyOption,
    MatrixOption,
    MethodOption,
    SetOption,
    TrajectoryOption,
    parse_fov,
    parse_matrix,
    parse_settings,
)
from lowfield_recon.files import check_output_path, require_file

if TYPE_CHECKING:
    from lowfield_recon.scan.problems import Undersampling

_File = Annotated[
    Path, typer.Argument(metavar="FILE", help="Scan: ISMRMRD, .npy, .mat, BART .cfl.")
]
_Out = Annotated[
    Path,
    typer.Option("-o", "--out", help="Image: .nii.gz, .h5 (ISMRMRD images), .png or .npy."),
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
_Dictionary = Annotated[
    str | None, typer.Option(metavar="D", help="Dictionary's name or path, for methods with one.")
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
    Literal["random", "regular"], typer.Option(help="With --acceleration: which lines are kept.")
]
_Seed = Annotated[int, typer.Option(min=0, help="With --acceleration: seed of random lines.")]


def reconstruct(
    file: _File,
    out: _Out,
    method: MethodOption = "tv",
    settings: SetOption = None,
    dictionary: _Dictionary = None,
    device: DeviceOption = "auto",
    slices: _Slices = None,
    part: _Part = None,
    coil_maps: _CoilMaps = "auto",
    no_prewhitening: _NoPrewhitening = False,
    acceleration: _Acceleration = None,
    calibration_lines: _CalibrationLines = 24,
    mask_kind: _MaskKind = "random",
    seed: _Seed = 0,
    axes: AxesOption = None,
    key: KeyOption = None,
    image_space: ImageSpaceOption = False,
    trajectory: TrajectoryOption = None,
    fov: FovOption = None,
    matrix: MatrixOption = None,
    field_strength: FieldStrengthOption = None,
) -> None:
    """Reconstruct a scan.

    Works through the file image by image, so that memory does not grow with their number. What was
    done, with which settings and versions, is written to a JSON beside each image.
    """
    chosen = parse_settings(settings)
    if dictionary is not None:
        chosen["dictionary"] = dictionary
    fov_m, size = parse_fov(fov), parse_matrix(matrix)
    require_file(file, "scan")
    check_output_path(out)
    from lowfield_recon.pipeline.reconstruction import Job, run_job
    from lowfield_recon.scan import load_scan

    chosen.setdefault("device", device)
    scan = load_scan(
        file,
        axes=axes,
        key=key,
        image_space=image_space,
        trajectory_key=trajectory,
        fov_m=fov_m,
        matrix=size,
        field_strength_t=field_strength,
    )
    job = Job(
        scan=scan,
        method=method,
        settings=chosen,
        coil_maps=coil_maps,
        prewhitening=not no_prewhitening,
        undersampling=_undersampling(acceleration, calibration_lines, mask_kind, seed),
        slices=slices,
        part=part,
    )
    for line in run_job(job, out):
        typer.echo(line)


def _undersampling(
    acceleration: float | None,
    calibration_lines: int,
    kind: Literal["random", "regular"],
    seed: int,
) -> Undersampling | None:
    from lowfield_recon.scan.problems import Undersampling

    if acceleration is None:
        return None
    return Undersampling(
        acceleration=acceleration, calibration_lines=calibration_lines, kind=kind, seed=seed
    )
