"""Where data sets lie on this computer."""

from __future__ import annotations

import os
from pathlib import Path

from lowfield_recon.data.manifests import DataManifest
from lowfield_recon.resources import sample_names, sample_path

ENVIRONMENT_VARIABLE = "LOWFIELD_RECON_DATA"


def data_root() -> Path:
    """Return the folder that holds the data sets.

    Returns
    -------
        The folder that the environment variable LOWFIELD_RECON_DATA names, else one in the user's
        cache.

    Examples
    --------
    >>> data_root().is_absolute()
    True
    """
    named = os.environ.get(ENVIRONMENT_VARIABLE, "")
    if named:
        return Path(named).expanduser().absolute()
    import pooch

    return Path(pooch.os_cache("lowfield_recon")) / "data"


def dataset_folder(manifest: DataManifest, chosen: str | Path | None = None) -> Path:
    """Return the folder of one data set.

    Parameters
    ----------
    manifest
        The data set.
    chosen
        Folder that the user named; it then holds the files themselves.

    Returns
    -------
        `chosen`, else the installation's own folder for what ships, else the data set's folder in
        `data_root()`.

    Examples
    --------
    >>> from lowfield_recon.data.manifests import load_manifest
    >>> dataset_folder(load_manifest("kodak"), "photographs").name
    'photographs'
    >>> dataset_folder(load_manifest("samples")).name
    'samples'
    """
    if chosen is not None:
        return Path(chosen)
    if manifest.access == "shipped":
        return sample_path(sample_names()[0]).parent
    return data_root() / manifest.name
