"""Which format a file has, found from its content and never from the suffix alone."""

from __future__ import annotations

import re
from pathlib import Path

from lowfield_recon.errors import DataError
from lowfield_recon.scan.records import FileFormat

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_HDF5_OFFSETS = (0, 512, 1024, 2048, 4096)
_HEAD_BYTES = 8192

_MAGIC: tuple[tuple[int, bytes, FileFormat], ...] = (
    (128, b"DICM", "dicom"),  # first: the 128 bytes before it may be those of a TIFF
    (0, b"\x93NUMPY", "npy"),
    (0, b"PK\x03\x04", "npz"),
    (0, b"\x89PNG\r\n\x1a\n", "png"),
    (0, b"\xff\xd8\xff", "jpeg"),
    (0, b"II*\x00", "tiff"),
    (0, b"MM\x00*", "tiff"),
    (344, b"n+1\x00", "nifti"),
    (344, b"ni1\x00", "nifti"),
    (4, b"n+2\x00\r\n\x1a\n", "nifti"),
    (0, b"yardl", "mrd2-stream"),
    (0, b"MATLAB 5.0 MAT-file", "mat"),
)

ELSEWHERE: dict[FileFormat, str] = {
    "mrd-images": "a series of MRD images, not k-space; a reconstruction needs the raw data file",
    "npz": "a zip archive (.npz or other); save one array with numpy.save and give its .npy",
    "dicom": "a DICOM image, quantised magnitudes and not k-space; export the raw data",
    "nifti": "a NIfTI image, not k-space; 'lowfield-recon restore' and 'score' take it",
    "png": "a PNG picture, not k-space; use 'lowfield-recon restore' on it",
    "jpeg": "a JPEG picture, not k-space; use 'lowfield-recon restore' on it",
    "tiff": "a TIFF picture, not k-space; use 'lowfield-recon restore' on it",
    "siemens": "Siemens raw data (twix); convert it with siemens_to_ismrmrd first",
    "mrd-stream": "a serialised MRD stream; its reader is not part of this version, HDF5's is",
    "mrd2-stream": "an MRD version 2 stream; convert it with mrd_to_ismrmrd first",
}
"""Formats that are recognised and belong to something else, with the words that say so."""


def detect_format(path: Path) -> FileFormat:
    """Find the format of a file from its content.

    Parameters
    ----------
    path
        The file; for BART the `.cfl`, the `.hdr` or the common stem.

    Returns
    -------
        Name of the format.

    Raises
    ------
    DataError
        If the file is missing, a folder, empty, unreadable, or of no known format.

    Examples
    --------
    >>> import numpy, tempfile
    >>> file = Path(tempfile.mkdtemp()) / "anything.dat"
    >>> with file.open("wb") as stream:
    ...     numpy.save(stream, numpy.zeros(3))
    >>> detect_format(file)
    'npy'
    """
    if bart_files(path) is not None:
        return "bart"
    head, size = _read_head(path)
    for offset, magic, name in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return name
    if any(head[o : o + 8] == HDF5_SIGNATURE for o in _HDF5_OFFSETS):
        return _hdf5_layout(path, head)
    if head[:2] == b"\x1f\x8b":
        if path.name.lower().endswith(".nii.gz"):
            return "nifti"
        raise DataError(f"{path.name}: is compressed with gzip; unpack it first, e.g. with gunzip.")
    if _is_siemens(head, size):
        return "siemens"
    if _is_mrd_stream(head):
        return "mrd-stream"
    if path.suffix.lower() == ".mat" and _is_mat_v4(head):
        return "mat"
    raise DataError(
        f"{path.name}: {_looks_like(head)}; expected ISMRMRD or MATLAB v7.3 (HDF5), .npy, .mat or "
        "a BART .cfl with its .hdr beside it. Check that it is the right file and complete."
    )


def not_a_scan(path: Path, name: FileFormat) -> DataError:
    """Return the error that says what a file is when it is no k-space that we read.

    Parameters
    ----------
    path
        The file.
    name
        Its format.

    Returns
    -------
        The error, to be raised by the caller.
    """
    return DataError(f"{path.name}: this is {ELSEWHERE[name]}.")


def bart_files(path: Path) -> tuple[Path, Path] | None:
    """Return the `.hdr` and the `.cfl` of a BART array, or None where `path` names none.

    Parameters
    ----------
    path
        The `.cfl`, the `.hdr` or the common stem.

    Returns
    -------
        Both paths, or None.

    Raises
    ------
    DataError
        If one of the pair is missing.
    """
    suffix = path.suffix.lower()
    if suffix in (".cfl", ".hdr"):
        header, samples = path.with_suffix(".hdr"), path.with_suffix(".cfl")
    else:
        header, samples = path.with_name(path.name + ".hdr"), path.with_name(path.name + ".cfl")
        if path.exists() or not (header.is_file() and samples.is_file()):
            return None
    if not path.exists() and not (header.is_file() and samples.is_file()):
        return None
    if suffix == ".hdr" and not _is_bart_header(header):
        return None
    for part in (header, samples):
        if not part.is_file():
            raise DataError(
                f"{path.name}: a BART array is a .hdr and a .cfl of one name; '{part.name}' is "
                "missing. Copy it beside the other."
            )
    return header, samples


def _read_head(path: Path) -> tuple[bytes, int]:
    if path.is_dir():
        raise DataError(
            f"{path.name or path}: is a folder; expected a file with raw data. Name one file in it."
        )
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; check the name and the folder.") from error
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); check its permissions."
        ) from error
    if size == 0:
        raise DataError(f"{path.name}: is empty (0 bytes); copy or export it again.")
    return head, size


def _is_bart_header(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return b"# Dimensions" in stream.read(4096)
    except OSError:
        return False


def _hdf5_layout(path: Path, head: bytes) -> FileFormat:
    import h5py  # heavy: only where a file is HDF5

    from lowfield_recon.scan.fastmri_file import TARGETS, header_text
    from lowfield_recon.scan.hdf5 import members, open_hdf5

    with open_hdf5(path) as file:
        names = set(file)
        top = members(file, path.name)
        if "kspace" in names and names & {"ismrmrd_header", *TARGETS}:
            text = header_text(top.get("ismrmrd_header"), path) or b""
            return "m4raw" if b"samplingBandwidth" in text else "fastmri"
        groups = [file, *(g for g in top.values() if isinstance(g, h5py.Group))]
        if any({"xml", "data"} <= set(group) for group in groups):
            return "ismrmrd"
        if any(re.match(r"image_\d+$", name) for group in groups for name in group):
            return "mrd-images"
        if head.startswith(b"MATLAB 7.3") or any("MATLAB_class" in v.attrs for v in top.values()):
            return "mat-v7.3"
    return "hdf5"


def _is_siemens(head: bytes, size: int) -> bool:
    first, second = (int.from_bytes(head[i : i + 4], "little") for i in (0, 4))
    is_multi_raid = first == 0 and 1 <= second <= 64 and size > 10240
    is_single = 0 < first < 1 << 24 and head[8:15] in (b"Config\x00", b"Dicom\x00")
    return is_multi_raid or is_single


def _is_mrd_stream(head: bytes) -> bool:
    kind, length = int.from_bytes(head[:2], "little"), int.from_bytes(head[2:6], "little")
    if kind == 1:
        name = head[2:1026].split(b"\x00")[0]
        return len(head) >= 1026 and bool(name) and name.isascii() and name.decode().isprintable()
    if kind in (2, 3):
        return 0 < length < 1 << 22 and head[6:].lstrip()[:1] in (b"<", b"{")
    return False


def _is_mat_v4(head: bytes) -> bool:
    if len(head) < 20:
        return False
    kind, rows, columns, is_complex, name_length = (
        int.from_bytes(head[i : i + 4], "little") for i in range(0, 20, 4)
    )
    return kind < 60 and rows > 0 and columns > 0 and is_complex in (0, 1) and 1 < name_length < 64


def _looks_like(head: bytes) -> str:
    if head.strip(b"\x00") == b"":
        return "begins with zero bytes only"
    start = head[:256]
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start):
        return "is a text file"
    return f"begins with {head[:8].hex(' ')}, which is no known format"
