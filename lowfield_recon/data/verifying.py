"""Whether the files of a data set are here, and are the right ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lowfield_recon.data.checksums import describe_damage
from lowfield_recon.data.manifests import DataFile, DataManifest
from lowfield_recon.data.partial import Partial
from lowfield_recon.data.selection import select_files

Status = Literal["ok", "missing", "damaged", "unchecked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCheck:
    """What was found of one file."""

    name: str
    status: Status
    """`unchecked`: it is here, its size does not contradict, and no checksum is known."""
    detail: str | None = None
    """What was seen and expected, or how much of it has arrived."""


def verify_dataset(
    manifest: DataManifest,
    folder: str | Path,
    *,
    patterns: Sequence[str] = (),
    report: Callable[[FileCheck], None] | None = None,
) -> list[FileCheck]:
    """Compare the files of a data set with their stated sizes and checksums.

    Parameters
    ----------
    manifest
        The data set.
    folder
        Folder that holds its files.
    patterns
        Shell patterns of the files to look at; empty for all.
    report
        Told about every file as soon as it was looked at.

    Returns
    -------
        One entry for each file, in the manifest's order.

    Raises
    ------
    UsageError
        If no file matches the patterns.
    OSError
        If a file cannot be read.

    Examples
    --------
    >>> from lowfield_recon.data.locations import dataset_folder
    >>> from lowfield_recon.data.manifests import load_manifest
    >>> manifest = load_manifest("samples")
    >>> {check.status for check in verify_dataset(manifest, dataset_folder(manifest))}
    {'ok'}
    """
    checks = []
    for file in select_files(manifest, patterns):
        check = check_file(file, Path(folder))
        checks.append(check)
        if report is not None:
            report(check)
    return checks


def check_file(file: DataFile, folder: Path) -> FileCheck:
    """Compare one file with what its manifest states.

    Parameters
    ----------
    file
        The file's entry.
    folder
        Folder that holds the data set.

    Returns
    -------
        What was found.

    Raises
    ------
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> check_file(DataFile(name="a.h5"), Path("no-such-folder")).status
    'missing'
    """
    path = folder / file.name
    if not path.is_file():
        arrived = Partial.of(path).size()
        detail = f"{arrived} bytes have arrived; fetch again to continue" if arrived else None
        return FileCheck(name=file.name, status="missing", detail=detail)
    damage = describe_damage(path, size_bytes=file.size_bytes, sha256=file.sha256, md5=file.md5)
    if damage is not None:
        return FileCheck(name=file.name, status="damaged", detail=damage)
    if file.sha256 is None and file.md5 is None:
        return FileCheck(name=file.name, status="unchecked", detail="no checksum known")
    return FileCheck(name=file.name, status="ok")
