"""`lowfield-recon convert`: raw arrays to ISMRMRD."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lowfield_recon.cli.options import (
    AxesOption,
    FieldStrengthOption,
    FovOption,
    ImageSpaceOption,
    KeyOption,
    MatrixOption,
    TrajectoryOption,
    parse_fov,
    parse_matrix,
)
from lowfield_recon.files import check_output_path, require_file


def convert(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Raw array: .npy, .mat or BART .cfl.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT.h5", help="ISMRMRD file to write.")],
    axes: AxesOption = None,
    key: KeyOption = None,
    field_strength: FieldStrengthOption = None,
    fov: FovOption = None,
    matrix: MatrixOption = None,
    image_space: ImageSpaceOption = False,
    trajectory: TrajectoryOption = None,
) -> None:
    """Write a raw array as ISMRMRD.

    The file is valid ISMRMRD, which every reader of that format understands.
    """
    fov_m, size = parse_fov(fov), parse_matrix(matrix)
    require_file(file, "array")
    check_output_path(out)
    from lowfield_recon.scan.convert import convert_to_ismrmrd

    notes = convert_to_ismrmrd(
        file,
        out,
        axes=axes,
        key=key,
        field_strength_t=field_strength,
        fov_m=fov_m,
        matrix=size,
        image_space=image_space,
        trajectory_key=trajectory,
    )
    if notes:
        typer.echo("assumed: " + "; ".join(note.rstrip(".") for note in notes))
    typer.echo(f"wrote {out}; check it with: lowfield-recon info {out}")
