"""The JSON beside every image: what it was made from, how, with which versions."""

from __future__ import annotations

import json
import math
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lowfield_recon.files import atomic_path, sha256_of

if TYPE_CHECKING:
    from lowfield_recon.problem import Reconstruction

_PACKAGES = ("lowfield-recon", "torch", "mrpro", "numpy")
_MAX_VALUES = 1000


def manifest_path(image_path: str | Path) -> Path:
    """Return the name of the JSON beside an image: the image's own name and `.json`.

    Parameters
    ----------
    image_path
        Image file or folder.

    Returns
    -------
        Path in the same folder; images that differ only in their ending get different ones.

    Examples
    --------
    >>> manifest_path("out/brain.nii.gz").name
    'brain.nii.gz.json'
    """
    path = Path(image_path)
    return path.with_name(path.name + ".json")


def describe_inputs(inputs: Mapping[str, str | Path]) -> dict[str, dict[str, str]]:
    """Name and hash the files that a result was made from.

    Parameters
    ----------
    inputs
        Role of each file (`"scan"`, `"mask"`, ...) and where it lies.

    Returns
    -------
        For each role the file's `name`, without its folder, and its `sha256`.

    Raises
    ------
    OSError
        If a file cannot be read.

    Examples
    --------
    >>> described = describe_inputs({"module": __file__})
    >>> described["module"]["name"], len(described["module"]["sha256"])
    ('manifest.py', 64)
    """
    return {
        role: {"name": Path(path).name, "sha256": sha256_of(path)} for role, path in inputs.items()
    }


def software_versions() -> dict[str, str | None]:
    """Return the versions that decide a result.

    Returns
    -------
        Versions of this package, torch, mrpro, numpy and Python; None where one is not installed.

    Examples
    --------
    >>> sorted(software_versions())
    ['lowfield-recon', 'mrpro', 'numpy', 'python', 'torch']
    """
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return versions


def thread_count() -> int:
    """Return how many threads torch computes with, or the processor count before it is loaded.

    Returns
    -------
        Number of threads.

    Examples
    --------
    >>> thread_count() >= 1
    True
    """
    torch = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch is not None else os.cpu_count() or 1


def describe_result(result: Reconstruction) -> dict[str, Any]:
    """Pick from a reconstruction what the JSON beside its image records.

    Parameters
    ----------
    result
        What a reconstructor returned.

    Returns
    -------
        Method, resolved settings, seed, device, seconds, the range of the magnitudes, and the
        diagnostics; of a history only its last value.

    Examples
    --------
    >>> import torch
    >>> from lowfield_recon.problem import Reconstruction
    >>> result = Reconstruction(image=torch.ones(1, 1, 1, 2, 2), method="tv")
    >>> describe_result(result)["data_range"]
    [1.0, 1.0]
    """
    magnitude = result.image.abs()
    return {
        "method": result.method,
        "settings": to_plain(result.settings),
        "seed": to_plain(result.settings.get("seed")),
        "device": str(result.settings.get("device", result.image.device)),
        "seconds": round(result.seconds, 4),
        "data_range": [float(magnitude.min()), float(magnitude.max())],
        "diagnostics": {name: _last(value) for name, value in result.diagnostics.items()},
    }


def _last(value: Any) -> Any:
    """Shorten a history to its last value."""
    is_history = isinstance(value, Sequence) and not isinstance(value, str)
    return to_plain(value[-1] if is_history and len(value) else value)


def write_manifest(
    image_path: str | Path,
    *,
    command: str,
    inputs: Mapping[str, Mapping[str, str]],
    options: Mapping[str, Any],
    results: Mapping[str, Any],
    with_seconds: bool = True,
) -> Path:
    """Write the JSON beside an image, whole or not at all.

    File names are recorded without their folders, numbers that JSON lacks (NaN, infinity) as null,
    and of tensors and long sequences only the shape.

    Parameters
    ----------
    image_path
        The image that was written.
    command
        The command or function that made it, e.g. `"reconstruct"`.
    inputs
        What `describe_inputs` returned.
    options
        The options that it was called with.
    results
        What was found and done: resolved settings, seed, device, seconds, repairs, assumptions,
        noise, stopping reason, data range, scores.
    with_seconds
        False leaves out every `seconds`, so that the same work gives the same bytes again.

    Returns
    -------
        Path of the JSON.

    Raises
    ------
    DataError
        If the folder is missing.

    Examples
    --------
    >>> import tempfile
    >>> image = Path(tempfile.mkdtemp()) / "a.png"
    >>> path = write_manifest(image, command="demo", inputs={}, options={}, results={"seed": 7})
    >>> json.loads(path.read_text())["seed"]
    7
    """
    record = {
        "image": Path(image_path).name,
        "command": command,
        "inputs": inputs,
        "options": options,
        **results,
        "threads": thread_count(),
        "versions": software_versions(),
    }
    plain = to_plain(record)
    kept = plain if with_seconds else _without_seconds(plain)
    text = json.dumps(kept, indent=2, ensure_ascii=False, allow_nan=False)
    target = manifest_path(image_path)
    with atomic_path(target) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    return target


def _without_seconds(plain: Any) -> Any:
    """Drop how long things took, wherever it stands."""
    if isinstance(plain, dict):
        kept = {key: entry for key, entry in plain.items() if key != "seconds"}
        return {key: _without_seconds(entry) for key, entry in kept.items()}
    return [_without_seconds(entry) for entry in plain] if isinstance(plain, list) else plain


def to_plain(value: Any) -> Any:
    """Turn a value into what JSON can hold.

    Parameters
    ----------
    value
        Anything: mappings, sequences, records, paths, numbers, tensors.

    Returns
    -------
        Dictionaries, lists, strings, finite numbers, booleans and None.

    Examples
    --------
    >>> to_plain({"file": Path("/somewhere/a.png"), "gap": float("nan"), "sizes": (1, 2)})
    {'file': 'a.png', 'gap': None, 'sizes': [1, 2]}
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return value.name
    if isinstance(value, Mapping):
        return {str(key): to_plain(entry) for key, entry in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return to_plain(asdict(value))
    if hasattr(value, "shape") and hasattr(value, "tolist"):
        return _array_to_plain(value)
    if isinstance(value, Sequence | set | frozenset):
        entries = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        if len(entries) > _MAX_VALUES:
            return {"length": len(entries)}
        return [to_plain(entry) for entry in entries]
    return str(value)


def _array_to_plain(value: Any) -> Any:
    """Keep a tensor's or array's numbers when they are few, else say how many there were."""
    count = math.prod(value.shape)
    if count > _MAX_VALUES:
        return {"shape": list(value.shape), "dtype": str(value.dtype)}
    return to_plain(value.tolist())
