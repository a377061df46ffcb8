"""What ships with the package, found from an installed wheel and from a source tree alike."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from lowfield_recon.errors import DataError, UsageError, nearest_name
from lowfield_recon.files import require_file

_PACKAGE = Path(__file__).resolve().parent
_SIDECAR_SUFFIXES = {".json", ".yaml", ".yml", ".md", ".txt", ".py", ".pyc"}


def shipped_folder(name: Literal["pipelines", "dictionaries", "data_manifests"]) -> Path:
    """Return a folder of the project's top level that travels inside the wheel.

    Parameters
    ----------
    name
        `"pipelines"`, `"dictionaries"` or `"data_manifests"`.

    Returns
    -------
        The folder: `lowfield_recon/_shipped/NAME` when installed, else the source tree's.

    Raises
    ------
    DataError
        If the installation lacks it.

    Examples
    --------
    >>> (shipped_folder("pipelines") / "demo.yaml").is_file()
    True
    """
    for candidate in (_PACKAGE / "_shipped" / name, _PACKAGE.parent / name):
        if candidate.is_dir():
            return candidate
    raise DataError(
        f"{name}: this installation of lowfield-recon lacks the folder; expected it inside the "
        "package; reinstall with pip install --force-reinstall lowfield-recon."
    )


def sample_names() -> tuple[str, ...]:
    """List the real scans and images that ship with the package.

    Returns
    -------
        File names, sorted.

    Examples
    --------
    >>> "brain_0055t_t2w.h5" in sample_names()
    True
    """
    folder = _PACKAGE / "samples"
    if not folder.is_dir():
        return ()
    return tuple(
        sorted(
            entry.name
            for entry in folder.iterdir()
            if entry.is_file()
            and entry.suffix not in _SIDECAR_SUFFIXES
            and not entry.name.startswith((".", "LICENSE"))
        )
    )


def sample_path(name: str) -> Path:
    """Return where a shipped sample lies.

    Parameters
    ----------
    name
        One of `sample_names()`.

    Returns
    -------
        Path of the file.

    Raises
    ------
    UsageError
        If there is no such sample.

    Examples
    --------
    >>> sample_path("brain_0055t_t2w.h5").name
    'brain_0055t_t2w.h5'
    """
    known = sample_names()
    if name not in known:
        raise UsageError(
            f"sample '{name}': there is none of that name. {nearest_name(name, known)}"
        )
    return _PACKAGE / "samples" / name


def find_plan(name: str, kind: str, pattern: str = "*.yaml") -> Path:
    """Return the YAML of a plan: a file, or one that ships in `pipelines/`.

    Parameters
    ----------
    name
        Path of a YAML file, or the name of one that ships.
    kind
        What it is, for messages.
    pattern
        Which files of `pipelines/` are of that kind.

    Returns
    -------
        Its path.

    Raises
    ------
    UsageError
        If none of that name ships.
    DataError
        If there is no such file.

    Examples
    --------
    >>> find_plan("study_small", "study", "study_*.yaml").name
    'study_small.yaml'
    """
    path = Path(name)
    if path.exists() or path.suffix in (".yaml", ".yml"):
        return require_file(path, kind)
    known = {entry.stem: entry for entry in shipped_folder("pipelines").glob(pattern)}
    if name not in known:
        hint = nearest_name(name, sorted(known))
        raise UsageError(f"{name}: no such file, and no {kind} of that name ships. {hint}")
    return known[name]
