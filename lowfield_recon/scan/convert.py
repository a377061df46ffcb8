"""Any scan to ISMRMRD: raw arrays, other formats, and mended copies of defective files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lowfield_recon.errors import UsageError
from lowfield_recon.files import check_output_path
from lowfield_recon.manifest import describe_inputs, write_manifest
from lowfield_recon.scan.ismrmrd_scan_writer import noise_scale_is_kept, write_ismrmrd_scan
from lowfield_recon.scan.load import load_scan
from lowfield_recon.scan.records import Extent, Scan, Shape

_VOXEL_M = 1e-3


def convert_to_ismrmrd(
    path: str | Path,
    out: str | Path,
    *,
    axes: str | Sequence[str] | None = None,
    key: str | None = None,
    field_strength_t: float | None = None,
    fov_m: tuple[float | None, float, float] | None = None,
    image_space: bool = False,
    trajectory_key: str | None = None,
    matrix: Shape | None = None,
) -> list[str]:
    """Write a scan of any format as an ISMRMRD file that any reader of the format understands.

    Of a defective ISMRMRD file this is a mended copy: header, limits, centre and counters are valid
    and mean what the format says. What was mended and decided stands in a JSON beside the file.

    Parameters
    ----------
    path
        Anything that `load_scan` reads: ISMRMRD, fastMRI, M4Raw, `.npy`, `.mat`, BART `.cfl`.
    out
        Name of the ISMRMRD file, ending in `.h5` or `.mrd`.
    axes
        Names of a raw array's axes in its own order, from `x` (readout), `y`, `z` (phase
        encodings), `coil`, `slice`, `repetition`, `contrast`; only BART files know their own.
    key
        Name of the array or data set in the file, where there are several.
    field_strength_t
        Main field [T].
    fov_m
        Field of view (z, y, x) [m], along z for slices their thickness; None where it is not known.
    image_space
        Whether a raw array holds coil images rather than k-space.
    trajectory_key
        Name of the array with k-space positions, or the path of another file.
    matrix
        Matrix (z, y, x) of a non-Cartesian array, or of an ISMRMRD file without an encoding.

    Returns
    -------
        What was mended, assumed and left out, one sentence each.

    Raises
    ------
    UsageError
        If axes, key or ending do not fit, or `out` is the file that is read.
    DataError
        If the scan cannot be read.

    Examples
    --------
    >>> import numpy, tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> numpy.save(folder / "k.npy", numpy.ones((8, 6), dtype=numpy.complex64))
    >>> notes = convert_to_ismrmrd(folder / "k.npy", folder / "k.h5", axes="x y")
    >>> (folder / "k.h5").is_file()
    True
    """
    path, out = Path(path), check_output_path(out)
    if out.suffix.lower() not in (".h5", ".mrd"):
        raise UsageError(f"{out.name}: an ISMRMRD file ends in .h5 or .mrd; choose such a name.")
    if out.exists() and path.exists() and out.samefile(path):
        raise UsageError(f"{out.name}: is the file that is read; choose another name.")
    scan = load_scan(
        path,
        axes=axes,
        key=key,
        field_strength_t=field_strength_t,
        fov_m=fov_m,
        image_space=image_space,
        trajectory_key=trajectory_key,
        matrix=matrix,
    )
    notes = _notes(scan)
    fov = _fov(scan, notes)
    write_ismrmrd_scan(out, scan, fov_m=fov)
    write_manifest(
        out,
        command="convert",
        inputs=describe_inputs({"scan": path}),
        options={
            "axes": axes,
            "key": key,
            "field_strength_t": field_strength_t,
            "fov_m": fov_m,
            "image_space": image_space,
            "trajectory": None if trajectory_key is None else Path(trajectory_key).name,
            "matrix": matrix,
        },
        results={
            "format": scan.format,
            "repairs": scan.repairs,
            "assumptions": scan.assumptions,
            "dropped_readouts": scan.dropped,
            "notes": notes,
        },
    )
    return notes


def _notes(scan: Scan) -> list[str]:
    """Say what was mended, assumed and left out."""
    header = scan.header
    notes = [f"{repair.code}: {repair.message}" for repair in scan.repairs]
    notes += scan.assumptions
    unwritten = {
        reason: n
        for reason, n in scan.dropped.items()
        if reason not in ("noise", "calibration only")
    }
    if unwritten:
        counts = ", ".join(f"{n} {reason}" for reason, n in unwritten.items())
        notes.append(f"Readouts that are no part of the images are not in the copy: {counts}.")
    if scan.targets:
        notes.append("The images for scoring are not in the copy.")
    if not noise_scale_is_kept(scan):
        notes.append(
            "The dwell time is not known, so the copy's noise readouts count as they stand."
        )
    if header.larmor_frequency_hz is None and header.field_strength_t is None:
        notes.append("The field strength is not known; frequency 0 was written.")
    geometry = scan.kspace(0).geometry
    if geometry is None or not geometry.is_known:
        notes.append("The orientation is not known; the header says so.")
    if header.dwell_time_s is None:
        notes.append("The dwell time is not known; 0 was written.")
    return notes


def _fov(scan: Scan, notes: list[str]) -> Extent:
    if scan.header.encoded_fov_m is not None:
        return scan.header.encoded_fov_m
    notes.append("The field of view is not known; voxels of 1 mm were taken.")
    z, y, x = (n * _VOXEL_M for n in scan.header.encoded_matrix)
    return (z, y, x)
