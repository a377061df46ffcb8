"""`lowfield-recon restore`: the reconstructors on photographs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

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
    from lowfield_recon.pipeline.photographs import Restored

_Image = Annotated[
    Path, typer.Argument(metavar="IMAGE", help="Degraded image: PNG, JPEG, TIFF, DICOM, .npy.")
]
_Out = Annotated[Path, typer.Option("-o", "--out", help="Result, .png or .npy.")]
_Task = Annotated[
    Literal["inpaint", "denoise", "deblur", "super-resolve", "mixed"],
    typer.Option(
        help="What is wrong with the image; mixed: any of --kernel, --factor and --mask together."
    ),
]
_Mask = Annotated[
    Path | None,
    typer.Option(
        help="For inpaint and mixed: image of the same size, white = kept pixel; or .npy of shape "
        "(channels, y, x), one mask for each channel."
    ),
]
_MaskPerChannel = Annotated[
    bool,
    typer.Option(
        "--mask-per-channel",
        help="The channels of a coloured mask are masks of their own; else their mean counts.",
    ),
]
_NoiseStd = Annotated[
    float | None,
    typer.Option(min=0, help="Standard deviation of the noise on the grey scale 0..1."),
]
_Kernel = Annotated[
    str | None,
    typer.Option(
        help="For deblur, super-resolve and mixed: 'gaussian:SIGMA' in pixels, .npy or image file."
    ),
]
_Factor = Annotated[
    int | None, typer.Option(min=2, help="For super-resolve and mixed: how many times larger.")
]
_Reference = Annotated[
    Path | None,
    typer.Option(metavar="IMAGE", help="The truth, for a score; no method looks at it."),
]
_Oracle = Annotated[
    bool,
    typer.Option(
        "--oracle",
        help="With --reference: record the best PSNR on the way too, chosen with the reference. "
        "Its time counts into a budget.",
    ),
]


def restore(
    image: _Image,
    out: _Out,
    task: _Task,
    method: MethodOption = "tv",
    mask: _Mask = None,
    mask_per_channel: _MaskPerChannel = False,
    noise_std: _NoiseStd = None,
    kernel: _Kernel = None,
    factor: _Factor = None,
    settings: SetOption = None,
    settings_file: SettingsFileOption = None,
    dictionary: DictionaryOption = None,
    device: DeviceOption = "auto",
    budget: BudgetOption = None,
    preview: PreviewOption = None,
    preview_seconds: PreviewSecondsOption = None,
    reference: _Reference = None,
    oracle: _Oracle = False,
) -> None:
    """Restore a degraded photograph.

    Fills in missing pixels, removes noise or blur, enlarges, or does all of this at once (mixed).
    IMAGE is the degraded photograph itself, and a mask lies on it. Blur is taken as circular, that
    is the image as periodic. With --factor and without --kernel, each pixel is taken as the mean
    of those that it becomes.

    Ctrl-C ends a method that fits networks early: the best image so far is written.
    """
    chosen = parse_settings(settings)
    _check(image, mask, noise_std, reference)
    if mask_per_channel and mask is None:
        raise UsageError("--mask-per-channel: has no meaning without --mask; leave it out.")
    if oracle and reference is None:
        raise UsageError("--oracle: needs --reference IMAGE, which it is chosen with.")
    taken = (image, mask, reference, out)
    seconds = check_preview(preview, preview_seconds, taken=taken)
    add_dictionary(chosen, dictionary, method)
    add_budget(chosen, budget, method)
    add_settings_file(chosen, settings_file, method)
    from lowfield_recon.pipeline import masks, photographs, restoration, watching

    photographs.check_photograph_path(check_output_path(out))
    problem = restoration.build_problem(
        photographs.read_degraded(image),
        task,
        mask=None if mask is None else masks.read_mask(mask, per_channel=mask_per_channel),
        kernel=None if kernel is None else restoration.read_kernel(kernel),
        factor=factor,
        noise_std=noise_std,
    )
    chosen.setdefault("device", device)
    kernel_file = None if kernel is None or kernel.startswith("gaussian:") else Path(kernel)
    inputs = {"image": image, "mask": mask, "kernel": kernel_file, "reference": reference}
    options = {
        "task": task,
        "noise_std": noise_std,
        "kernel": kernel_file or kernel,
        "factor": factor,
        "mask_per_channel": mask_per_channel,
    }
    restored = photographs.restore_and_write(
        problem,
        out,
        method=method,
        settings=chosen,
        inputs={role: path for role, path in inputs.items() if path is not None},
        options=options,
        reference=None if reference is None else photographs.read_degraded(reference),
        watch=watching.Watch(
            preview=preview, preview_seconds=seconds, oracle=oracle, keep_interrupted=True
        ),
    )
    _tell(restored, out)


def _check(image: Path, mask: Path | None, noise_std: float | None, reference: Path | None) -> None:
    """Check what can be checked before anything heavy is loaded."""
    for path, what in ((image, "image"), (mask, "mask"), (reference, "reference")):
        if path is not None:
            require_file(path, what)
    if noise_std is not None and noise_std >= 1:
        raise UsageError(
            f"--noise-std {noise_std:g}: expected a value on the grey scale 0..1; divide levels of "
            "0..255 by 255."
        )


def _tell(restored: Restored, out: Path) -> None:
    """Say what was used, written and scored, and whether it was interrupted."""
    from lowfield_recon.pipeline.watching import WROTE_BEST, InterruptionError

    if restored.used is not None:
        typer.echo(restored.used)
    clipped = restored.clipped
    note = f" ({clipped:.2%} of the values clipped to 0..1)" if clipped else ""
    typer.echo(f"wrote {out}{note}")
    for line in restored.lines:
        typer.echo(line)
    if restored.is_interrupted:
        raise InterruptionError(WROTE_BEST)
