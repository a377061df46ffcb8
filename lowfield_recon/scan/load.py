"""`load_scan`: any file with raw data, found by its content."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.scan.arrays import ARRAY_FORMATS
from lowfield_recon.scan.detect import detect_format, not_a_scan
from lowfield_recon.scan.records import FileFormat, Scan, Shape

logger = logging.getLogger(__name__)


def load_scan(
    path: str | Path,
    *,
    axes: str | Sequence[str] | None = None,
    key: str | None = None,
    image_space: bool = False,
    field_strength_t: float | None = None,
    fov_m: tuple[float | None, float, float] | None = None,
    trajectory_key: str | None = None,
    matrix: Shape | None = None,
    strict: bool = False,
) -> Scan:
    """Read what a scanner recorded: headers now, samples one image at a time when they are needed.

    Parameters
    ----------
    path
        ISMRMRD, fastMRI or M4Raw HDF5, `.npy`, `.npz`, `.mat` of any version, plain HDF5, or BART
        `.cfl`/`.hdr`.
    axes
        Names of a raw array's axes in its own order, from `x` (readout), `y`, `z`, `coil`, `slice`,
        `repetition`, `contrast`; e.g. `"y x slice"`.
    key
        Name of the array in the file, or of the ISMRMRD data set.
    image_space
        Whether a raw array holds coil images instead of k-space.
    field_strength_t
        Main field [T] where the file does not say, or instead of what it says.
    fov_m
        Encoded field of view (z, y, x) [m] where the file does not say; z may be None.
    trajectory_key
        Name of a raw array's k-space positions, or the path of their file.
    matrix
        Matrix (z, y, x) of a raw non-Cartesian scan, or of an ISMRMRD file without an encoding.
    strict
        Turn every repair of the file into an error.

    Returns
    -------
        The scan; `scan.problems()` prepares its images for reconstruction.

    Raises
    ------
    DataError
        If the file is missing, damaged, no raw data, or needs a repair while `strict`.
    UsageError
        If an option is missing or does not fit the file.

    Examples
    --------
    >>> import numpy, tempfile
    >>> file = Path(tempfile.mkdtemp()) / "kspace.npy"
    >>> numpy.save(file, numpy.ones((8, 16, 12), dtype=numpy.complex64))
    >>> load_scan(file, axes="coil y x").header.encoded_matrix
    (1, 16, 12)
    """
    path = Path(path)
    _check_options(field_strength_t, matrix)
    name = detect_format(path)
    if name == "ismrmrd":
        if axes is not None or image_space or trajectory_key is not None:
            raise UsageError(
                f"{path.name}: is ISMRMRD, which names its own axes and trajectory; leave out the "
                "options for raw arrays."
            )
        scan = _load_ismrmrd(path, key, field_strength_t, fov_m, matrix)
    elif name in ("fastmri", "m4raw"):
        if axes is not None or image_space or trajectory_key is not None or key or matrix:
            raise UsageError(
                f"{path.name}: is a file of the fastMRI family, which names its own arrays and "
                "axes; leave out axes, key, matrix, trajectory and image_space."
            )
        scan = _load_fastmri(path, name, field_strength_t, fov_m)
    elif name in ARRAY_FORMATS:
        from lowfield_recon.scan.raw_reader import RawOptions, load_raw

        options = RawOptions(
            axes=axes,
            key=key,
            image_space=image_space,
            field_strength_t=field_strength_t,
            fov_m=fov_m,
            trajectory_key=trajectory_key,
            matrix=matrix,
        )
        scan = load_raw(path, name, options)
    else:
        raise not_a_scan(path, name)
    _report(scan, strict)
    return scan


def _load_ismrmrd(
    path: Path,
    key: str | None,
    field_strength_t: float | None,
    fov_m: tuple[float | None, float, float] | None,
    matrix: Shape | None,
) -> Scan:
    from lowfield_recon.scan.ismrmrd_reader import IsmrmrdOptions, load_ismrmrd

    options = IsmrmrdOptions(
        key=key,
        field_strength_t=field_strength_t,
        fov_m=None if fov_m is None else (fov_m[0] or fov_m[1], fov_m[1], fov_m[2]),
        matrix=matrix,
    )
    return load_ismrmrd(path, options)


def _load_fastmri(
    path: Path,
    name: FileFormat,
    field_strength_t: float | None,
    fov_m: tuple[float | None, float, float] | None,
) -> Scan:
    from lowfield_recon.scan.fastmri_header import FastMriOptions

    options = FastMriOptions(
        field_strength_t=field_strength_t,
        fov_m=None if fov_m is None else (fov_m[0] or 0.0, fov_m[1], fov_m[2]),
    )
    if name == "m4raw":
        from lowfield_recon.scan.m4raw_reader import load_m4raw

        return load_m4raw(path, options)
    from lowfield_recon.scan.fastmri_reader import load_fastmri

    return load_fastmri(path, options)


def _check_options(field_strength_t: float | None, matrix: Shape | None) -> None:
    if field_strength_t is not None and not 0 < field_strength_t < 100:
        raise UsageError(f"field_strength_t: expected a field in tesla, got {field_strength_t}.")
    if matrix is not None and (len(matrix) != 3 or not all(1 <= n <= 65536 for n in matrix)):
        raise UsageError(f"matrix: expected (z, y, x), each at least 1, got {matrix}.")


def _report(scan: Scan, strict: bool) -> None:
    if strict and scan.repairs:
        codes = ", ".join(dict.fromkeys(repair.code for repair in scan.repairs))
        raise DataError(
            f"{scan.path.name}: needs {len(scan.repairs)} repairs ({codes}), which strict reading "
            "refuses; read it without strict, or mend the file."
        )
    for repair in scan.repairs:
        logger.warning("%s: %s: %s", scan.path.name, repair.code, repair.message)
    for note in scan.assumptions:
        logger.info("%s: %s", scan.path.name, note)
