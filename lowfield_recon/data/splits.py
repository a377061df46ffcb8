"""Training, validation and test: by subject, so that nobody is on both sides."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from lowfield_recon.data.manifests import DataManifest, SplitName
from lowfield_recon.errors import DataError


def subject_of(manifest: DataManifest, name: str) -> str:
    """Say who or what a file shows.

    Parameters
    ----------
    manifest
        The data set.
    name
        Name of the file inside the data set's folder, with `/` between folders.

    Returns
    -------
        The subject that the manifest states or its pattern finds, else the file's own name, so that
        an unknown file counts as a subject of its own.

    Examples
    --------
    >>> from lowfield_recon.data.manifests import load_manifest
    >>> subject_of(load_manifest("m4raw"), "multicoil_train/2022061203_T102.h5")
    '2022061203'
    """
    for file in manifest.files:
        if file.name == name and file.subject is not None:
            return file.subject
    if manifest.split is not None and manifest.split.subject_pattern is not None:
        found = re.search(manifest.split.subject_pattern, name)
        if found is not None:
            return found["subject"]
    return PurePosixPath(name).stem


def split_of(manifest: DataManifest, name: str) -> SplitName | None:
    """Say to which split a file belongs.

    Parameters
    ----------
    manifest
        The data set.
    name
        Name of the file inside the data set's folder.

    Returns
    -------
        The split, or None where the manifest assigns none.

    Examples
    --------
    >>> from lowfield_recon.data.manifests import load_manifest
    >>> split_of(load_manifest("fastmri_knee"), "multicoil_val/file1000000.h5")
    'validation'
    """
    for file in manifest.files:
        if file.name == name and file.split is not None:
            return file.split
    if manifest.split is None:
        return None
    patterns: tuple[tuple[SplitName, tuple[str, ...]], ...] = (
        ("train", manifest.split.train),
        ("validation", manifest.split.validation),
        ("test", manifest.split.test),
    )
    for split, wanted in patterns:
        if any(fnmatchcase(name, pattern) for pattern in wanted):
            return split
    return None


def split_files(manifest: DataManifest, names: Iterable[str]) -> dict[SplitName, list[str]]:
    """Sort files into splits, and refuse a subject that would be in two of them.

    Parameters
    ----------
    manifest
        The data set.
    names
        Names of files inside the data set's folder.

    Returns
    -------
        For each split that occurs its files, in their order; files without a split are left out.

    Raises
    ------
    DataError
        If files of one subject fall into different splits.

    Examples
    --------
    >>> from lowfield_recon.data.manifests import load_manifest
    >>> split_files(load_manifest("kodak"), ["kodim01.png", "readme.txt"])
    {'test': ['kodim01.png']}
    """
    splits: dict[SplitName, list[str]] = {}
    seen: dict[str, SplitName] = {}
    for name in names:
        split = split_of(manifest, name)
        if split is None:
            continue
        subject = subject_of(manifest, name)
        if seen.setdefault(subject, split) != split:
            raise DataError(
                f"{name}: subject '{subject}' is in '{seen[subject]}' and in '{split}'; expected "
                "each subject in one split; move all its files into one of them."
            )
        splits.setdefault(split, []).append(name)
    return splits
