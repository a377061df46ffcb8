"""Which files of a data set are meant."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from lowfield_recon.data.manifests import DataFile, DataManifest
from lowfield_recon.errors import UsageError


def select_files(manifest: DataManifest, patterns: Sequence[str] = ()) -> list[DataFile]:
    """Pick the files of a data set whose names match.

    Parameters
    ----------
    manifest
        The data set.
    patterns
        Shell patterns, compared with the whole name and with its last part; empty for all files.

    Returns
    -------
        The files, in the manifest's order.

    Raises
    ------
    UsageError
        If a pattern matches nothing.

    Examples
    --------
    >>> from lowfield_recon.data.manifests import load_manifest
    >>> [file.name for file in select_files(load_manifest("kodak"), ["kodim0[12].*"])]
    ['kodim01.png', 'kodim02.png']
    """
    if not patterns:
        return list(manifest.files)
    for pattern in patterns:
        if not any(_matches(file, pattern) for file in manifest.files):
            names = [file.name for file in manifest.files]
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise UsageError(
                f"--files {pattern}: {manifest.name} has no such file; it has "
                f"{', '.join(names[:3])}{more}."
            )
    return [file for file in manifest.files if any(_matches(file, pattern) for pattern in patterns)]


def _matches(file: DataFile, pattern: str) -> bool:
    last = file.name.rpartition("/")[2]
    return fnmatchcase(file.name, pattern) or fnmatchcase(last, pattern)
