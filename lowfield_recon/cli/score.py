"""`lowfield-recon score`: an image against its reference."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lowfield_recon.cli.options import JsonOption
from lowfield_recon.files import require_file


def score(
    image: Annotated[
        Path,
        typer.Argument(metavar="IMAGE", help="Image: PNG, NIfTI, ISMRMRD images, .npy, DICOM."),
    ],
    reference: Annotated[
        Path, typer.Argument(metavar="REFERENCE", help="Reference of the same size.")
    ],
    json: JsonOption = False,
    data_range: Annotated[
        float | None,
        typer.Option(
            help="Range of values for PSNR and SSIM, in the unit of the reference. Default: 1 for "
            "photographs (grey levels are scaled to 0..1), else the largest magnitude of REFERENCE."
        ),
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(help="Image of the same size; pixels that are not 0 count.")
    ] = None,
) -> None:
    """Score an image against a reference.

    Prints PSNR, SSIM, NRMSE, HFEN and the blur effect of the magnitudes. Nothing is scaled or
    shifted to fit the reference.
    """
    for path, what in ((image, "image"), (reference, "reference"), (mask, "mask")):
        if path is not None:
            require_file(path, what)
    from json import dumps

    from lowfield_recon.pipeline.scoring import score_files, scores_record

    scores = score_files(image, reference, data_range=data_range, mask=mask)
    if json:
        typer.echo(dumps(scores_record(scores, image, reference, mask), indent=2))
        return
    typer.echo(f"PSNR         {scores.psnr_db:.3f} dB (data range {scores.data_range:g})")
    typer.echo(f"SSIM         {scores.ssim:.4f} (7 x 7 window, data range {scores.data_range:g})")
    typer.echo(f"NRMSE        {scores.nrmse:.4f}")
    typer.echo(f"HFEN         {scores.hfen:.4f}")
    typer.echo(
        f"blur effect  {scores.blur_effect:.4f} (reference {scores.reference_blur_effect:.4f})"
    )
    typer.echo(f"pixels       {scores.n_pixels}")
