"""Fetching a data set: what is missing is downloaded, checked, unpacked and written down."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lowfield_recon.data.archives import unpack
from lowfield_recon.data.checksums import human_size
from lowfield_recon.data.locations import dataset_folder
from lowfield_recon.data.manifests import DataFile, DataManifest
from lowfield_recon.data.partial import Partial
from lowfield_recon.data.selection import select_files
from lowfield_recon.data.transfer import Patience, Report, download
from lowfield_recon.data.verifying import check_file
from lowfield_recon.errors import DataError
from lowfield_recon.files import atomic_path, sha256_of
from lowfield_recon.manifest import write_manifest

ProgressOf = Callable[[str], AbstractContextManager[Report | None]]
"""Called with a file's name; gives what `download` reports to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedFile:
    """What became of one file."""

    name: str
    status: Literal["fetched", "present", "replaced"]
    """`replaced`: a damaged file was here."""
    size_bytes: int
    sha256: str
    is_checked: bool
    """Whether it was compared with a stated checksum; else its hash is only written down."""
    n_unpacked: int = 0
    """How many files came out of it, for an archive."""


def fetch_dataset(
    manifest: DataManifest,
    folder: str | Path | None = None,
    *,
    patterns: Sequence[str] = (),
    patience: Patience | None = None,
    progress_of: ProgressOf | None = None,
    report: Callable[[FetchedFile], None] | None = None,
) -> list[FetchedFile]:
    """Bring the files of a data set into a folder.

    Files that are there and right are left alone, an interrupted download continues, a damaged file
    is replaced, archives are unpacked beside themselves, and `NAME.json` records source, licence,
    citation and the hash of every file.

    Parameters
    ----------
    manifest
        The data set.
    folder
        Folder for its files; None takes the data set's own, see `dataset_folder`.
    patterns
        Shell patterns of the files to fetch; empty for all.
    patience
        Timeouts and attempts.
    progress_of
        Gives for each download what is told about its progress.
    report
        Told about every file as soon as it is there.

    Returns
    -------
        One entry for each file, in the manifest's order.

    Raises
    ------
    UsageError
        If no file matches the patterns.
    DataError
        If the data set needs a registration, no address is known, the disk is too small, or a
        download fails.

    Examples
    --------
    >>> from lowfield_recon.data.manifests import load_manifest
    >>> [file.status for file in fetch_dataset(load_manifest("samples"), patterns=["camera.png"])]
    ['present']
    """
    files = select_files(manifest, patterns)
    place = dataset_folder(manifest, folder)
    if manifest.access == "registration":
        raise DataError(f"{manifest.name}: registration needed. {manifest.registration}")
    _refuse_unknown_addresses(manifest, files)
    is_installed = manifest.access == "shipped" and place == dataset_folder(manifest)
    if not is_installed:
        place.mkdir(parents=True, exist_ok=True)
        _check_total_space(manifest, files, place)
    done = []
    for file in files:
        fetched = _fetch_file(manifest, file, place, patience, progress_of or _silent)
        done.append(fetched)
        if report is not None:
            report(fetched)
    if not is_installed:
        write_manifest(
            place / manifest.name,
            command="data fetch",
            inputs={},
            options={"files": list(patterns)},
            results=_describe(manifest, done),
        )
    return done


def _silent(_name: str) -> AbstractContextManager[Report | None]:
    return nullcontext()


def _refuse_unknown_addresses(manifest: DataManifest, files: Sequence[DataFile]) -> None:
    if manifest.access == "shipped":
        return
    unknown = [file.name for file in files if file.url is None]
    if unknown:
        raise DataError(
            f"{unknown[0]}: no direct address is known; expected one in the manifest; get it by "
            f"hand from {manifest.source.homepage or manifest.source.doi}, or choose others with "
            "--files."
        )


def _check_total_space(manifest: DataManifest, files: Sequence[DataFile], place: Path) -> None:
    missing = sum(
        (file.size_bytes or 0) - Partial.of(place / file.name).size()
        for file in files
        if not (place / file.name).is_file()
    )
    free = shutil.disk_usage(place).free
    if missing > free:
        raise DataError(
            f"{manifest.name}: needs {human_size(missing)} more, and the disk has "
            f"{human_size(free)} free; choose another folder with -o, or fewer files with --files."
        )


def _fetch_file(
    manifest: DataManifest,
    file: DataFile,
    place: Path,
    patience: Patience | None,
    progress_of: ProgressOf,
) -> FetchedFile:
    target = place / file.name
    before = check_file(file, place).status
    if before in ("missing", "damaged"):
        target.parent.mkdir(parents=True, exist_ok=True)
        if file.url is None:
            _copy_shipped(manifest, file, target)
        else:
            with progress_of(file.name) as report:
                download(
                    file.url,
                    target,
                    size_bytes=file.size_bytes,
                    sha256=file.sha256,
                    md5=file.md5,
                    patience=patience,
                    report=report,
                )
    unpacked = []
    if file.archive is not None:
        members = file.archive.members
        unpacked = unpack(target, target.parent, kind=file.archive.kind, members=members)
    return FetchedFile(
        name=file.name,
        status={"missing": "fetched", "damaged": "replaced"}.get(before, "present"),  # type: ignore[arg-type]
        size_bytes=target.stat().st_size,
        sha256=file.sha256 or sha256_of(target),
        is_checked=file.sha256 is not None or file.md5 is not None,
        n_unpacked=len(unpacked),
    )


def _copy_shipped(manifest: DataManifest, file: DataFile, target: Path) -> None:
    installed = dataset_folder(manifest)
    found = check_file(file, installed)
    if found.status != "ok":
        raise DataError(
            f"{file.name}: the installed file is {found.status}; reinstall with pip install "
            "--force-reinstall lowfield-recon."
        )
    with atomic_path(target) as temporary:
        shutil.copyfile(installed / file.name, temporary)


def _describe(manifest: DataManifest, done: Sequence[FetchedFile]) -> dict[str, Any]:
    """Collect what the JSON beside the files records."""
    by_name = {file.name: file for file in manifest.files}
    return {
        "title": manifest.title,
        "homepage": manifest.source.homepage,
        "doi": manifest.source.doi,
        "license": manifest.license,
        "citation": manifest.citation,
        "files": {
            fetched.name: {
                "url": by_name[fetched.name].url,
                "size_bytes": fetched.size_bytes,
                "sha256": fetched.sha256,
                "is_checked": fetched.is_checked,
            }
            for fetched in done
        },
    }
