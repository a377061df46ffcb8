"""`lowfield-recon decompose`: what is smooth and what is sparse in an image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from lowfield_recon.cli.options import (
    AxesOption,
    DeviceOption,
    ImageSpaceOption,
    KeyOption,
    SetOption,
    parse_settings,
)
from lowfield_recon.cli.settings_file import SettingsFileOption, add_settings_file
from lowfield_recon.errors import UsageError
from lowfield_recon.files import check_output_path, require_file

_File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", help="Picture (PNG, JPEG, TIFF, DICOM, .npy), or a scan as of reconstruct."
    ),
]
_Out = Annotated[Path, typer.Option("-o", "--out", help="Drawing, .png.")]
_Method = Annotated[Literal["ncpr", "cpr"], typer.Option(help="Which model of patches.")]
_NoiseStd = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Of a picture: standard deviation of its noise on the grey scale 0..1; estimated "
        "where it is not given.",
    ),
]
_Slices = Annotated[
    str | None,
    typer.Option(metavar="N", help="Of a scan: the slice, counted from 0. Default: the middle."),
]
_Acceleration = Annotated[
    float | None,
    typer.Option(metavar="R", min=1, help="Of a scan: first leave out all but 1 in R lines."),
]
_CalibrationLines = Annotated[
    int, typer.Option(metavar="N", min=0, help="With --acceleration: central lines kept.")
]


def decompose(
    file: _File,
    out: _Out,
    method: _Method = "ncpr",
    settings: SetOption = None,
    settings_file: SettingsFileOption = None,
    device: DeviceOption = "auto",
    noise_std: _NoiseStd = None,
    slices: _Slices = None,
    acceleration: _Acceleration = None,
    calibration_lines: _CalibrationLines = 24,
    axes: AxesOption = None,
    key: KeyOption = None,
    image_space: ImageSpaceOption = False,
) -> None:
    """Draw the smooth and the sparse part of an image, and the atoms it uses most.

    A picture is denoised, a slice of a scan reconstructed; ncpr and cpr give both as a smooth part,
    which is left free, plus a sparse part of few atoms. A JSON beside the drawing holds the
    numbers.
    """
    chosen = parse_settings(settings)
    require_file(file, "image or scan")
    check_output_path(out)
    if noise_std is not None and noise_std >= 1:
        raise UsageError(
            f"--noise-std {noise_std:g}: expected a value on the grey scale 0..1; divide levels of "
            "0..255 by 255."
        )
    add_settings_file(chosen, settings_file, method)
    from lowfield_recon.pipeline.decomposing import DecompositionJob, decompose_and_write
    from lowfield_recon.scan.problems import Undersampling

    chosen.setdefault("device", device)
    undersampling = None
    if acceleration is not None:
        undersampling = Undersampling(
            acceleration=acceleration, calibration_lines=calibration_lines
        )
    job = DecompositionJob(
        file=file,
        method=method,
        settings=chosen,
        noise_std=noise_std,
        slices=slices,
        undersampling=undersampling,
        axes=axes,
        key=key,
        image_space=image_space,
    )
    for line in decompose_and_write(job, out):
        typer.echo(line)
