"""`lowfield-recon restore`: the reconstructors on photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from lowfield_recon.cli.options import (
    DeviceOption,
    DictionaryOption,
    MethodOption,
    SetOption,
    add_dictionary,
    parse_settings,
)
from lowfield_recon.cli.settings_file import SettingsFileOption, add_settings_file
from lowfield_recon.errors import UsageError
from lowfield_recon.files import check_output_path, require_file

_Image = Annotated[
    Path, typer.Argument(metavar="IMAGE", help="Degraded image: PNG, JPEG, TIFF, DICOM, .npy.")
]
_Out = Annotated[Path, typer.Option("-o", "--out", help="Result, .png or .npy.")]
_Task = Annotated[
    Literal["inpaint", "denoise", "deblur", "super-resolve"],
    typer.Option(help="What is wrong with the image."),
]
_Mask = Annotated[
    Path | None, typer.Option(help="For inpaint: image of the same size, white = kept pixel.")
]
_NoiseStd = Annotated[
    float | None,
    typer.Option(min=0, help="Standard deviation of the noise on the grey scale 0..1."),
]
_Kernel = Annotated[
    str | None,
    typer.Option(
        help="For deblur and super-resolve: 'gaussian:SIGMA' in pixels, .npy or image file."
    ),
]
_Factor = Annotated[
    int | None, typer.Option(min=2, help="For super-resolve: how many times larger.")
]


def restore(
    image: _Image,
    out: _Out,
    task: _Task,
    method: MethodOption = "tv",
    mask: _Mask = None,
    noise_std: _NoiseStd = None,
    kernel: _Kernel = None,
    factor: _Factor = None,
    settings: SetOption = None,
    settings_file: SettingsFileOption = None,
    dictionary: DictionaryOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Restore a degraded photograph.

    Fills in missing pixels, removes noise or blur, or enlarges. IMAGE is the degraded photograph
    itself. Blur is taken as circular, that is the image as periodic. Without --kernel,
    super-resolve takes each pixel as the mean of those that it becomes.
    """
    chosen = parse_settings(settings)
    require_file(image, "image")
    if mask is not None:
        require_file(mask, "mask")
    if noise_std is not None and noise_std >= 1:
        raise UsageError(
            f"--noise-std {noise_std:g}: expected a value on the grey scale 0..1; divide levels of "
            "0..255 by 255."
        )
    add_dictionary(chosen, dictionary, method)
    add_settings_file(chosen, settings_file, method)
    from lowfield_recon.pipeline import photographs, restoration

    photographs.check_photograph_path(check_output_path(out))
    degraded = photographs.read_degraded(image)
    problem = restoration.build_problem(
        degraded,
        task,
        mask=None if mask is None else restoration.read_mask(mask),
        kernel=None if kernel is None else restoration.read_kernel(kernel),
        factor=factor,
        noise_std=noise_std,
    )
    chosen.setdefault("device", device)
    kernel_file = None if kernel is None or kernel.startswith("gaussian:") else Path(kernel)
    inputs = {"image": image, "mask": mask, "kernel": kernel_file}
    options = {
        "task": task,
        "noise_std": noise_std,
        "kernel": kernel_file or kernel,
        "factor": factor,
    }
    clipped, used = photographs.restore_and_write(
        problem,
        out,
        method=method,
        settings=chosen,
        inputs={role: path for role, path in inputs.items() if path is not None},
        options=options,
    )
    if used is not None:
        typer.echo(used)
    note = f" ({clipped:.2%} of the values clipped to 0..1)" if clipped else ""
    typer.echo(f"wrote {out}{note}")
