"""`lowfield-recon tune`: choose settings of a method on images whose truth is known."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lowfield_recon.cli.options import (
    MASK_WORDS,
    AxesOption,
    DeviceOption,
    DictionaryOption,
    JsonOption,
    KeyOption,
    MaskKind,
    SetOption,
    add_dictionary,
    parse_settings,
)
from lowfield_recon.cli.tune_images import (
    photographs_to_tune_on,
    refuse_options,
    scans_to_tune_on,
)
from lowfield_recon.errors import UsageError
from lowfield_recon.files import check_output_path, require_file

if TYPE_CHECKING:
    from collections.abc import Mapping

_Method = Annotated[str, typer.Argument(metavar="METHOD", help="See `lowfield-recon methods`.")]
_Files = Annotated[
    list[Path],
    typer.Argument(metavar="FILE...", help="Complete scans, or clean photographs."),
]
_Out = Annotated[
    Path, typer.Option("-o", "--out", metavar="DIR", help="Folder for the search and its result.")
]
_Search = Annotated[
    str,
    typer.Option(
        metavar="KEY=START,...",
        help='Settings to search, each with a start above 0: "beta=0.01,'
        'regularization_weight=0.001".',
    ),
]
_TaskOption = Annotated[
    Literal["reconstruct", "denoise", "super-resolve", "deblur", "inpaint"],
    typer.Option(help="What the settings are for."),
]
_SearchFactor = Annotated[float, typer.Option(help="First ratio of neighbouring values.")]
_StopFactor = Annotated[float, typer.Option(help="Ratio at which the search ends.")]
_ToleranceDb = Annotated[
    float,
    typer.Option(
        "--tolerance-db",
        help="Gain in dB (of ssim: in its own unit) below which the grid shrinks.",
    ),
]
_Metric = Annotated[Literal["psnr", "ssim"], typer.Option(help="Mean over the images that counts.")]
_Margin = Annotated[
    int, typer.Option(metavar="N", min=0, help="Pixels along each side that do not count.")
]
_MaxEvaluations = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Most points, each tried on all images.")
]
_Workers = Annotated[int, typer.Option(metavar="N", min=1, help="Processes, each with one thread.")]
_Slices = Annotated[
    str | None, typer.Option(metavar="LIST", help="Of scans only these, counted from 0: 0,2-5.")
]
_Acceleration = Annotated[
    float | None, typer.Option(metavar="R", min=1, help="Of scans: leave out all but 1 in R lines.")
]
_CalibrationLines = Annotated[
    int | None, typer.Option(metavar="N", min=0, help="Central lines kept.  [default: 24]")
]
_MaskKind = Annotated[
    MaskKind | None,
    typer.Option(metavar="KIND", help=f"Lines kept: {MASK_WORDS}.  [default: random]"),
]
_CoilMaps = Annotated[
    Literal["auto", "espirit", "walsh", "inati"] | None,
    typer.Option(help="How coil maps are estimated.  [default: auto]"),
]
_NoPrewhitening = Annotated[
    bool, typer.Option("--no-prewhitening", help="Leave the noise of the coils correlated.")
]
_IntensityScale = Annotated[
    Literal["raw", "unit"] | None,
    typer.Option(help="As for `reconstruct`; weights depend on it.  [default: raw]"),
]
_NoiseStd = Annotated[
    float | None,
    typer.Option(
        metavar="S", min=0, max=1, help="Of photographs: noise added, scale 0..1.  [default: 0.02]"
    ),
]
_Kernel = Annotated[
    str | None,
    typer.Option(
        help="For deblur (default gaussian:1.6) and super-resolve (default: mean of the pixels "
        "that become one): 'gaussian:SIGMA', .npy or image file."
    ),
]
_Factor = Annotated[
    int | None, typer.Option(min=2, help="For super-resolve: how many times larger.  [default: 2]")
]
_KeptFraction = Annotated[
    float | None,
    typer.Option(metavar="P", min=0, max=1, help="For inpaint: pixels kept.  [default: 0.5]"),
]
_Crop = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Of photographs: largest size, the middle.")
]
_Seed = Annotated[
    str | None,
    typer.Option(help="Of random lines, noise and mask; photographs count it up.  [default: 0]"),
]


def tune(
    method: _Method,
    files: _Files,
    out: _Out,
    search: _Search,
    task: _TaskOption = "reconstruct",
    settings: SetOption = None,
    dictionary: DictionaryOption = None,
    search_factor: _SearchFactor = 4.0,
    stop_factor: _StopFactor = 1.025,
    tolerance: _ToleranceDb = 1e-4,
    metric: _Metric = "psnr",
    margin: _Margin = 0,
    max_evaluations: _MaxEvaluations = None,
    workers: _Workers = 1,
    device: DeviceOption = "auto",
    slices: _Slices = None,
    acceleration: _Acceleration = None,
    calibration_lines: _CalibrationLines = None,
    mask_kind: _MaskKind = None,
    coil_maps: _CoilMaps = None,
    no_prewhitening: _NoPrewhitening = False,
    intensity_scale: _IntensityScale = None,
    axes: AxesOption = None,
    key: KeyOption = None,
    noise_std: _NoiseStd = None,
    kernel: _Kernel = None,
    factor: _Factor = None,
    kept_fraction: _KeptFraction = None,
    crop: _Crop = None,
    seed: _Seed = None,
    json: JsonOption = False,
) -> None:
    """Tune settings of a method.

    Searches on a grid of ratios for the settings with the best mean score, and looks at the truth
    to do so: FILE are validation images, never those that the method is judged on afterwards, and
    the score found here is no test score. For reconstruct, FILE is a complete scan (or what
    `simulate` wrote) and --acceleration leaves samples out; for the other tasks a clean photograph,
    which is degraded. DIR then holds tuned.json, which `reconstruct` and `restore` take with
    --settings, tuning.png, and evaluations.jsonl: the same command goes on where it was
    interrupted and computes nothing twice.
    """
    fixed, start = parse_settings(settings), parse_search(search)
    for path in files:
        require_file(path, "scan or photograph")
    check_output_path(out)
    add_dictionary(fixed, dictionary, method)
    for_scans = {
        "acceleration": acceleration, "calibration_lines": calibration_lines,
        "mask_kind": mask_kind, "coil_maps": coil_maps, "intensity_scale": intensity_scale,
        "axes": axes, "key": key, "slices": slices, "no_prewhitening": no_prewhitening or None,
    }  # fmt: skip
    for_photographs = {
        "noise_std": noise_std, "kernel": kernel, "factor": factor,
        "kept_fraction": kept_fraction, "crop": crop,
    }  # fmt: skip
    is_scan = task == "reconstruct"
    refuse_options(for_photographs if is_scan else for_scans, task)
    from lowfield_recon.pipeline.tuning import TuningJob
    from lowfield_recon.pipeline.tuning import tune as run_tuning
    from lowfield_recon.pipeline.tuning_evaluation import check_search
    from lowfield_recon.pipeline.tuning_search import SearchOptions

    options = SearchOptions(
        factor=search_factor, stop_factor=stop_factor, least_gain=tolerance,
        max_points=max_evaluations,
    )  # fmt: skip
    check_search(method, fixed, start)
    make = scans_to_tune_on if is_scan else photographs_to_tune_on
    images, conditions = make(
        files, for_scans if is_scan else for_photographs, task, "0" if seed is None else seed
    )
    job = TuningJob(
        method=method, start=start, images=images, settings=fixed, conditions=conditions,
        metric=metric, margin=margin, device=device, search=options, workers=workers,
    )  # fmt: skip
    is_quiet = logging.getLogger("lowfield_recon").level > logging.WARNING
    record = run_tuning(job, out, tell=None if is_quiet else _say)
    _conclude(record, out, json)


def parse_search(text: str) -> dict[str, float]:
    """Turn `--search` into settings with their first values.

    Parameters
    ----------
    text
        `KEY=START`, separated by commas.

    Returns
    -------
        Setting and start.

    Raises
    ------
    UsageError
        If it is not of that form, a start is not above 0, or a setting is named twice.

    Examples
    --------
    >>> parse_search("beta=0.01, regularization-weight=1e-3")
    {'beta': 0.01, 'regularization_weight': 0.001}
    """
    start: dict[str, float] = {}
    for word in text.split(","):
        key, _, number = word.partition("=")
        name = key.strip().replace("-", "_")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not name or not (math.isfinite(value) and value > 0):
            raise UsageError(
                f"--search {word.strip()}: expected KEY=START with a start above 0, e.g. "
                "--search beta=0.01,regularization_weight=0.001."
            )
        if name in start:
            raise UsageError(f"--search {text}: '{name}' is there twice; keep one of them.")
        start[name] = value
    return start


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _conclude(record: Mapping[str, Any], out: Path, is_json: bool) -> None:
    if is_json:
        from json import dumps

        typer.echo(dumps(record, indent=2, ensure_ascii=False))
        return
    on, search = record["tuned_on"], record["search"]
    values = " ".join(f"{name}={record['settings'][name]:.6g}" for name in search["start"])
    typer.echo(f"best of {search['n_points']} points: {values}")
    mean = f"{on['mean_score']:.4f}"
    typer.echo(f"mean {on['metric']} of {len(on['images'])} images: {mean}. {record['note']}")
    if "reference" in on:
        typer.echo(on["reference"])
    for name in record["without_influence"]:
        typer.echo(
            f"{name} made no difference where it was searched: start 1000 times higher or lower"
        )
    for name, side in record["on_border"].items():
        if name not in record["without_influence"]:
            typer.echo(f"{name} is the {side} value that worked: the best may lie beyond")
    if search["stopped_by"] != "converged":
        typer.echo("ended by --max-evaluations before the search was done")
    if record["failures"]:
        typer.echo(f"failed {len(record['failures'])} times, first: {record['failures'][0]}")
    typer.echo(f"wrote {out / 'tuned.json'} and {out / 'tuning.png'}")
