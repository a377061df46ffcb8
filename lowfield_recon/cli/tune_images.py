"""Which images `lowfield-recon tune` looks at, from the words of its command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowfield_recon.cli.options import parse_seed
from lowfield_recon.errors import UsageError

if TYPE_CHECKING:
    from lowfield_recon.pipeline.tuning_images import ValidationImage

_NOISY_REFERENCE = (
    "the reference is the reconstruction from all data, itself noisy: on noisy scans the score "
    "rewards keeping the noise, and weights come out small"
)


def refuse_options(options: Mapping[str, Any], task: str) -> None:
    """Refuse options that have no meaning for the task.

    Parameters
    ----------
    options
        Options that it does not take, None where they were not given.
    task
        Name of the task.

    Raises
    ------
    UsageError
        If one of them was given.

    Examples
    --------
    >>> refuse_options({"crop": None}, "reconstruct")
    """
    for name, value in options.items():
        if value is not None:
            raise UsageError(
                f"--{name.replace('_', '-')}: has no meaning for --task {task}; leave it out."
            )


def scans_to_tune_on(
    files: Sequence[Path], options: Mapping[str, Any], task: str, seed: str
) -> tuple[Sequence[ValidationImage], dict[str, Any]]:
    """Return the images of complete scans and what is done to them.

    Parameters
    ----------
    files
        The scans.
    options
        Options by name, None where they were not given.
    task
        `"reconstruct"`.
    seed
        What the user gave as seed.

    Returns
    -------
        Images, and the conditions for the record.

    Raises
    ------
    UsageError
        If nothing is to be left out, or a slice does not exist.
    DataError
        If a file is no scan.
    """
    from lowfield_recon.pipeline.tuning_images import ScanPreparation, scan_images
    from lowfield_recon.scan.problems import Undersampling

    if options["acceleration"] is None:
        raise UsageError(
            "--task reconstruct: needs --acceleration R, because tuning compares with the "
            "reconstruction from all data."
        )
    lines, kind = options["calibration_lines"], options["mask_kind"]
    preparation = ScanPreparation(
        undersampling=Undersampling(
            acceleration=options["acceleration"],
            calibration_lines=24 if lines is None else lines,
            kind=kind or "random",
            seed=parse_seed(seed),
        ),
        coil_maps=options["coil_maps"] or "auto",
        prewhitening=options["no_prewhitening"] is None,
        intensity_scale=options["intensity_scale"] or "raw",
        axes=options["axes"],
        key=options["key"],
    )
    images = scan_images(files, preparation, slices=options["slices"])
    return images, {"task": task, "preparation": preparation, "reference": _NOISY_REFERENCE}


def photographs_to_tune_on(
    files: Sequence[Path], options: Mapping[str, Any], task: str, seed: str
) -> tuple[Sequence[ValidationImage], dict[str, Any]]:
    """Return photographs and what is done to them.

    Parameters
    ----------
    files
        The photographs.
    options
        Options by name, None where they were not given.
    task
        What `restore` is to do.
    seed
        What the user gave as seed.

    Returns
    -------
        Images, and the conditions for the record.

    Raises
    ------
    UsageError
        If an option has no meaning for the task.
    """
    from lowfield_recon.manifest import describe_inputs
    from lowfield_recon.pipeline.degrading import Degradation
    from lowfield_recon.pipeline.tuning_images import photograph_images

    for name, tasks in (
        ("kernel", ("deblur", "super-resolve")),
        ("factor", ("super-resolve",)),
        ("kept_fraction", ("inpaint",)),
    ):
        if task not in tasks:
            refuse_options({name: options[name]}, task)
    number = parse_seed(seed)
    if not isinstance(number, int):
        raise UsageError(f"--seed {seed}: expected an integer of at least 0.")
    kernel = options["kernel"]
    given = {
        "noise_std": options["noise_std"],
        "kept_fraction": options["kept_fraction"],
        "factor": options["factor"],
        "kernel" if task == "deblur" else "super_resolution_kernel": kernel,
    }
    degradation = Degradation(
        task=task, seed=number, **{name: v for name, v in given.items() if v is not None}
    )
    images = photograph_images(files, degradation, crop=options["crop"])
    is_file = kernel is not None and not kernel.startswith("gaussian:")
    inputs = describe_inputs({"kernel": kernel} if is_file else {})
    return images, {"degradation": degradation, "crop": options["crop"], "inputs": inputs}
