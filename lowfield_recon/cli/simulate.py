"""`lowfield-recon simulate`: an image in, the scan of it out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lowfield_recon.cli.options import (
    MASK_WORDS,
    FovOption,
    MaskKind,
    parse_fov,
    parse_matrix,
    parse_seed,
)
from lowfield_recon.errors import UsageError
from lowfield_recon.files import check_output_path, require_file

_Image = Annotated[
    Path, typer.Argument(metavar="IMAGE", help="Image: PNG, JPEG, TIFF, NIfTI, .npy, .mat.")
]
_Out = Annotated[Path, typer.Option("-o", "--out", help="ISMRMRD file to write: .h5 or .mrd.")]
_RecipeFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="YAML with settings; options given here count before it."),
]
_Voxel = Annotated[
    str | None, typer.Option(metavar="MM...", help="Voxel size in mm along x y [z].")
]
_FieldStrength = Annotated[
    float | None, typer.Option(metavar="T", help="Main field in T.  [default: 0.05]")
]
_Matrix = Annotated[
    str | None,
    typer.Option(metavar="N...", help="Measure a coarser matrix along x y [z]: --matrix 160 160"),
]
_SliceWise = Annotated[
    bool, typer.Option("--slice-wise", help="Measure z as 2-D slices, not as a 3-D volume.")
]
_Coils = Annotated[int | None, typer.Option(metavar="N", help="Receive loops.  [default: 1]")]
_Phase = Annotated[
    float | None, typer.Option(metavar="RAD", help="Largest smooth phase of the object in rad.")
]
_PhaseOrder = Annotated[int | None, typer.Option(metavar="N", help="Degree of that phase.")]
_Window = Annotated[
    str | None,
    typer.Option(metavar="PART...", help="Central part of k-space, of all axes or of x y [z]."),
]
_Mask = Annotated[
    Literal["full", MaskKind] | None,
    typer.Option(metavar="KIND", help=f"Sampled phase encodings: full, {MASK_WORDS}."),
]
_Acceleration = Annotated[float | None, typer.Option(metavar="R", help="1 in R encodings.")]
_CalibrationLines = Annotated[
    int | None, typer.Option(metavar="N", help="Width of the complete centre.  [default: 24]")
]
_CenterFraction = Annotated[
    float | None, typer.Option(metavar="PART", help="Centre of a fastMRI mask, e.g. 0.08.")
]
_MaskSeed = Annotated[
    str | None, typer.Option(metavar="SEED", help="Integer, or for fastMRI a file's name.")
]
_Snr = Annotated[
    float | None,
    typer.Option(help="Noise: mean object modulus over the noise of one fully sampled pixel."),
]
_NoiseStd = Annotated[
    float | None, typer.Option(metavar="S", help="Noise: standard deviation of one sample.")
]
_VarianceFactor = Annotated[
    float | None, typer.Option(metavar="V", help="Noise: variance over the mean of |x|^2.")
]
_NoiseSamples = Annotated[
    int | None, typer.Option(metavar="N", help="Add a noise readout of N samples.")
]
_DwellTime = Annotated[
    float | None, typer.Option(metavar="US", help="Time between samples in us.  [default: 20]")
]
_OffResonance = Annotated[
    float | None, typer.Option(metavar="HZ", help="Largest smooth off-resonance in Hz.")
]
_Emi = Annotated[
    str | None,
    typer.Option(metavar="HZ...", help="Interference at these frequencies: --emi -4000 7500"),
]
_EmiAmplitude = Annotated[
    float | None,
    typer.Option(metavar="A", help="Its strength over the mean object modulus.  [default: 0.1]"),
]
_Spikes = Annotated[
    float | None, typer.Option(metavar="PART", help="Part of the samples that a burst hits.")
]
_SpikeAmplitude = Annotated[
    float | None,
    typer.Option(metavar="A", help="Burst over the signal's largest modulus.  [default: 0.3]"),
]
_Bias = Annotated[
    float | None, typer.Option(metavar="A", help="Shading between exp(-A) and exp(A).")
]
_Motion = Annotated[
    float | None, typer.Option(metavar="MM", help="Largest translation in a shot in mm.")
]
_Rotation = Annotated[
    float | None, typer.Option(metavar="DEG", help="Largest rotation in a shot in degrees.")
]
_Shots = Annotated[
    int | None,
    typer.Option(metavar="N", help="Shots, each with the object in a pose.  [default: 8]"),
]
_ShotOrder = Annotated[
    Literal["sequential", "interleaved"] | None,
    typer.Option(help="Lines of a shot: neighbours (the default), or N apart."),
]
_Gain = Annotated[float | None, typer.Option(metavar="G", help="Factor of all samples.")]
_Seed = Annotated[int | None, typer.Option(help="Seed of every random choice.  [default: 0]")]

_NOISE = ("snr", "noise_std", "variance_factor")


def simulate(
    image: _Image,
    out: _Out,
    recipe: _RecipeFile = None,
    fov: FovOption = None,
    voxel: _Voxel = None,
    field_strength: _FieldStrength = None,
    matrix: _Matrix = None,
    slice_wise: _SliceWise = False,
    coils: _Coils = None,
    phase: _Phase = None,
    phase_order: _PhaseOrder = None,
    window: _Window = None,
    mask: _Mask = None,
    acceleration: _Acceleration = None,
    calibration_lines: _CalibrationLines = None,
    center_fraction: _CenterFraction = None,
    mask_seed: _MaskSeed = None,
    snr: _Snr = None,
    noise_std: _NoiseStd = None,
    variance_factor: _VarianceFactor = None,
    noise_samples: _NoiseSamples = None,
    dwell_time: _DwellTime = None,
    off_resonance: _OffResonance = None,
    emi: _Emi = None,
    emi_amplitude: _EmiAmplitude = None,
    spikes: _Spikes = None,
    spike_amplitude: _SpikeAmplitude = None,
    bias_field: _Bias = None,
    motion: _Motion = None,
    rotation: _Rotation = None,
    shots: _Shots = None,
    shot_order: _ShotOrder = None,
    gain: _Gain = None,
    seed: _Seed = None,
) -> None:
    """Simulate the scan of an image.

    Without options: one uniform coil, complete k-space, no noise. The file is valid ISMRMRD; the
    whole recipe, the noise level and the coil maps stand in it.
    """
    given: dict[str, Any] = {
        "field_strength_t": field_strength,
        "encoding": "slices" if slice_wise else None,
        "n_coils": coils,
        "phase_rad": phase,
        "phase_order": phase_order,
        "window": _window(window),
        "mask": mask,
        "acceleration": acceleration,
        "calibration_lines": calibration_lines,
        "center_fraction": center_fraction,
        "mask_seed": None if mask_seed is None else parse_seed(mask_seed),
        "snr": snr,
        "noise_std": noise_std,
        "variance_factor": variance_factor,
        "noise_samples": noise_samples,
        "dwell_time_s": None if dwell_time is None else 1e-6 * dwell_time,
        "off_resonance_hz": off_resonance,
        "interference_hz": None if emi is None else tuple(_numbers("--emi", emi)),
        "interference_amplitude": emi_amplitude,
        "spike_fraction": spikes,
        "spike_amplitude": spike_amplitude,
        "bias_field": bias_field,
        "motion_m": None if motion is None else 1e-3 * motion,
        "motion_rad": None if rotation is None else math.radians(rotation),
        "motion_shots": shots,
        "motion_order": shot_order,
        "gain": gain,
        "seed": seed,
    }
    size, fov_m, voxel_m = parse_matrix(matrix), parse_fov(fov), _voxel(voxel)
    require_file(image, "image")
    check_output_path(out)
    if recipe is not None:
        require_file(recipe, "recipe")
    from lowfield_recon.simulation.recipe import recipe_from
    from lowfield_recon.simulation.scan_file import simulate_scan

    settings = _from_file(recipe)
    if any(given[name] is not None for name in _NOISE):
        settings = {name: value for name, value in settings.items() if name not in _NOISE}
    settings |= {name: value for name, value in given.items() if value is not None}
    notes = simulate_scan(
        image, out, recipe_from(settings), matrix=size, fov_m=fov_m, voxel_m=voxel_m
    )
    if notes:
        typer.echo("assumed: " + "; ".join(note.rstrip(".") for note in notes))
    typer.echo(f"wrote {out}; check it with: lowfield-recon info {out}")


def _from_file(path: Path | None) -> dict[str, Any]:
    """Return the settings that a YAML file gives."""
    if path is None:
        return {}
    from lowfield_recon.configuration import load_configuration
    from lowfield_recon.simulation.recipe import Recipe

    return load_configuration(path, Recipe).model_dump(exclude_unset=True)


def _numbers(option: str, text: str) -> list[float]:
    try:
        return [float(word) for word in text.replace(",", " ").split()]
    except ValueError:
        raise UsageError(f"{option} {text}: expected numbers separated by spaces.") from None


def _window(text: str | None) -> float | tuple[float, float, float] | None:
    """Turn parts along x, y and z into parts along z, y, x; z counts as whole where not given."""
    if text is None:
        return None
    parts = _numbers("--window", text)
    if len(parts) == 1:
        return parts[0]
    if len(parts) not in (2, 3):
        raise UsageError(f"--window {text}: expected one to three parts, e.g. --window 0.5.")
    return (parts[2] if len(parts) == 3 else 1.0, parts[1], parts[0])


def _voxel(text: str | None) -> tuple[float | None, float, float] | None:
    try:
        return parse_fov(text)
    except UsageError:
        raise UsageError(
            f"--voxel {text}: expected one to three lengths in mm, e.g. --voxel 1.5 1.5 5."
        ) from None
