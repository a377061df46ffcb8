"""`lowfield-recon info`: what a file holds, and every repair and assumption of the reader."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lowfield_recon.cli.options import (
    AxesOption,
    FieldStrengthOption,
    FovOption,
    ImageSpaceOption,
    JsonOption,
    KeyOption,
    MatrixOption,
    TrajectoryOption,
    parse_fov,
    parse_matrix,
)
from lowfield_recon.errors import DataError
from lowfield_recon.files import require_file

if TYPE_CHECKING:
    from lowfield_recon.scan import Scan


def info(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Scan: ISMRMRD, fastMRI, M4Raw, .npy, .mat, BART."),
    ],
    json: JsonOption = False,
    axes: AxesOption = None,
    key: KeyOption = None,
    image_space: ImageSpaceOption = False,
    trajectory: TrajectoryOption = None,
    fov: FovOption = None,
    matrix: MatrixOption = None,
    field_strength: FieldStrengthOption = None,
) -> None:
    """Show what a scan holds.

    Format, coils, matrix, field of view, field strength, trajectory, sampling, noise, every repair
    that the reader made and everything that it assumed.
    """
    fov_m, size = parse_fov(fov), parse_matrix(matrix)
    require_file(file, "scan")
    from json import dumps

    from lowfield_recon.manifest import to_plain
    from lowfield_recon.scan import load_scan

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
    description = {
        **scan.describe(),
        "noise_std_of_first_image_before_whitening": _noise_std(scan),
        **_checks(scan),
    }
    if json:
        typer.echo(dumps(to_plain(description), indent=2, ensure_ascii=False))
        return
    for name, value in description.items():
        for line in _lines(name, value):
            typer.echo(line)


def _noise_std(scan: Scan) -> float | str | None:
    """Estimate the noise of one complex sample before whitening, in the unit of the data."""
    from lowfield_recon.prepare import estimate_noise_std

    try:
        raw = scan.kspace(0)
    except DataError as error:
        return f"not known, {error}"
    return estimate_noise_std(raw.data, raw.mask, readout_only=raw.trajectory is not None)


def _checks(scan: Scan) -> dict[str, Any]:
    """Look for the centre of k-space and for interference in the middle slice."""
    from lowfield_recon.scan.kspace_checks import check_kspace

    try:
        checks = check_kspace(scan)
    except DataError as error:
        return {"kspace_checks": [f"not made, {error}"]}
    return {
        "kspace_centre_offset_samples_zyx": None if checks.centre is None else checks.centre.offset,
        "interference_peaks": [
            {
                "code": "interference",
                "message": f"at {peak.position:+.3f} of the readout's extent, "
                f"{peak.ratio:.1f} times the power around",
                "position_along_readout": peak.position,
                "power_ratio": peak.ratio,
            }
            for peak in checks.peaks
        ],
        "kspace_checks": list(checks.sentences()),
    }


def _label(name: str) -> str:
    """Write a field's name for people: words, then the axes and the unit in brackets."""
    words = {"fov": "field of view", "std": "standard deviation"}
    units = {"m": "m", "t": "T", "hz": "Hz", "s": "s", "rad": "rad"}
    parts = name.split("_")
    axes = " (z, y, x)" if "zyx" in parts else ""
    parts = [part for part in parts if part != "zyx"]
    unit = f" [{units[parts.pop()]}]" if len(parts) > 1 and parts[-1] in units else ""
    return " ".join(words.get(part, part) for part in parts) + axes + unit


def _lines(name: str, value: Any) -> list[str]:
    """Write one entry for people: lists of records and sentences get one line each."""
    label = _label(name)
    if value is None:
        return [f"{label}: not stated"]
    if name == "user_parameters" and value:
        texts = ((key, " ".join(_number(v).split())) for key, v in value.items())
        return [
            f"{label}:",
            *(f"  {key}: {t if len(t) <= 80 else t[:77] + '...'}" for key, t in texts),
        ]
    if isinstance(value, dict):
        entries = ", ".join(f"{count} {reason}" for reason, count in value.items())
        return [f"{label}: {entries or 'none'}"]
    if isinstance(value, list) and all(isinstance(entry, str | dict) for entry in value):
        if not value:
            return [f"{label}: none"]
        return [f"{label}:", *(f"  {_sentence(entry)}" for entry in value)]
    if isinstance(value, list):
        return [f"{label}: {' x '.join(_number(entry) for entry in value)}"]
    if isinstance(value, tuple):
        entries = ", ".join("not known" if v is None else f"{round(v, 1) + 0.0:.1f}" for v in value)
        return [f"{label}: {entries}"]
    return [f"{label}: {_number(value)}"]


def _sentence(entry: str | dict[str, Any]) -> str:
    if isinstance(entry, str):
        return entry
    change = f" ({entry['old']} -> {entry['new']})" if entry.get("old") is not None else ""
    return f"{entry['code']}: {entry['message']}{change}"


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
