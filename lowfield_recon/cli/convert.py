"""`lowfield-recon convert`: any scan to ISMRMRD."""

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
        Path,
        typer.Argument(
            metavar="FILE", help="Scan: ISMRMRD, fastMRI, M4Raw, .npy, .mat or BART .cfl."
        ),
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
    """Write a scan of any format as ISMRMRD.

    The file is valid ISMRMRD, which every reader of that format understands. Of a defective file it
    is a mended copy; the JSON beside it names every repair.
    """
    fov_m, size = parse_fov(fov), parse_matrix(matrix)
    require_file(file, "scan")
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
    for note in notes:
        typer.echo(f"note: {note}")
    typer.echo(f"wrote {out}; check it with: lowfield-recon info {out}")
