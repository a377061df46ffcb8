"""Values of a pipeline's parameters: what the user gave, else the defaults, each by its type."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from lowfield_recon.configuration import Document
from lowfield_recon.errors import LowfieldReconError, UsageError, nearest_name
from lowfield_recon.files import require_file
from lowfield_recon.pipeline.plan import ParameterPlan, PipelinePlan
from lowfield_recon.resources import sample_path

_SAMPLE = "sample:"
_DOUBLE_ENDINGS = (".gz",)


def parse_assignments(words: Sequence[str]) -> dict[str, str]:
    """Turn `name=value` words into a mapping.

    Parameters
    ----------
    words
        Words such as `"method=tv,wavelet"`.

    Returns
    -------
        Name and text.

    Raises
    ------
    UsageError
        If a word is not of that form, or gives a name twice.

    Examples
    --------
    >>> parse_assignments(["method=tv,wavelet"])
    {'method': 'tv,wavelet'}
    """
    given: dict[str, str] = {}
    for word in words:
        name, separator, value = word.partition("=")
        if not separator or not name:
            raise UsageError(f"{word}: expected parameter=value, e.g. method=tv.")
        if name in given:
            raise UsageError(f"{word}: '{name}' is given twice; keep one of them.")
        given[name] = value
    return given


def resolve_parameters(
    plan: PipelinePlan, document: Document, given: dict[str, str]
) -> dict[str, Any]:
    """Return the value of every parameter.

    Files that the user gives are looked for from the working folder, those in the YAML from the
    YAML's own folder; `sample:NAME` is a file that ships with the package.

    Parameters
    ----------
    plan
        The pipeline.
    document
        Its YAML.
    given
        What the user gave.

    Returns
    -------
        Name and value: text, number, path, list, mapping, or None where the default is null.

    Raises
    ------
    UsageError
        If a parameter does not exist, is missing, or its value does not fit; names file and line.
    """
    known = sorted(plan.parameters)
    for name in given:
        if name not in known:
            hint = nearest_name(name, known) if known else "It takes none."
            raise UsageError(
                f"{document.place('parameters')}: {name}={given[name]}: there is no parameter "
                f"'{name}'. {hint}"
            )
    values: dict[str, Any] = {}
    for name, parameter in plan.parameters.items():
        place = document.place("parameters", name)
        if name not in given and parameter.is_required:
            what = f" ({parameter.help})" if parameter.help else ""
            raise UsageError(f"{place}: parameter '{name}'{what} is missing; give it as {name}=...")
        raw = given.get(name, parameter.default)
        folder = Path() if name in given else document.path.parent
        try:
            values[name] = None if raw is None else _value(raw, parameter, folder)
        except (LowfieldReconError, ValueError, OSError) as error:
            raise UsageError(f"{place}: parameter '{name}': {error}") from error
    return values


def _value(raw: Any, parameter: ParameterPlan, folder: Path) -> Any:
    if parameter.type == "files":
        return _files(_entries(raw), parameter, folder)
    read = _READERS.get(parameter.type)
    return find_file(str(raw), folder) if read is None else read(raw)


def find_file(text: str, folder: Path) -> Path:
    """Return where an input file lies.

    Parameters
    ----------
    text
        A path, or `sample:NAME` for a file that ships with the package.
    folder
        Folder that a relative path starts from.

    Returns
    -------
        Its path.

    Raises
    ------
    DataError
        If there is no such file or it is empty.
    UsageError
        If there is no such sample.

    Examples
    --------
    >>> find_file("sample:camera.png", Path()).name
    'camera.png'
    """
    if text.startswith(_SAMPLE):
        return sample_path(text.removeprefix(_SAMPLE))
    return require_file(folder / Path(text).expanduser(), "file")


def file_attribute(path: Path, name: str) -> str | None:
    """Return what `${file.name}` and `${file.stem}` stand for.

    Parameters
    ----------
    path
        The file.
    name
        `"name"`, or `"stem"`: the name without its ending (`.nii.gz` counts as one).

    Returns
    -------
        The text, or None for another attribute.

    Examples
    --------
    >>> file_attribute(Path("a/brain.v2.nii.gz"), "stem")
    'brain.v2'
    """
    if name == "name":
        return path.name
    if name == "stem":
        inner = Path(path.stem)
        return inner.stem if path.suffix in _DOUBLE_ENDINGS and inner.suffix else path.stem
    return None


def _entries(raw: Any) -> list[Any]:
    if isinstance(raw, str):
        return [entry.strip() for entry in raw.split(",") if entry.strip()]
    return list(raw) if isinstance(raw, list) else [raw]


def _files(entries: list[Any], parameter: ParameterPlan, folder: Path) -> list[Path]:
    """List the files that paths, folders and patterns name, each once, sorted within each."""
    found: dict[Path, None] = {}
    for entry in (str(entry) for entry in entries):
        path = folder / Path(entry).expanduser()
        if path.is_dir():
            matches = [match for pattern in parameter.pattern for match in path.glob(pattern)]
            names = sorted(match for match in matches if not match.name.startswith("."))
        elif glob.has_magic(entry) and not path.exists():
            names = _matches(path)
        else:
            names = [find_file(entry, folder)]
        names = [name for name in names if name.is_file() or not name.exists()]
        if not names:
            wanted = ", ".join(parameter.pattern)
            raise UsageError(f"{entry}: holds no file {wanted}; check the path.")
        found |= dict.fromkeys(names)
    return _several(list(found))


def _matches(pattern: Path) -> list[Path]:
    """List the files that a pattern with `*`, `?` or `**` names."""
    parts = pattern.parts
    fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    return sorted(Path(*parts[:fixed]).glob(str(Path(*parts[fixed:]))))


def _several(values: list[Any]) -> list[Any]:
    if not values:
        raise UsageError("expected at least one value, got none.")
    return values


def _words(raw: Any) -> list[str]:
    words = _several([str(entry) for entry in _entries(raw)])
    if len(set(words)) < len(words):
        raise UsageError(f"names one twice ({', '.join(words)}); name each once.")
    return words


def _number(raw: Any) -> float:
    try:
        return float(raw)
    except (TypeError, ValueError) as error:
        raise UsageError(f"expected a number, got '{raw}'.") from error


def _integer(raw: Any) -> int:
    number = _number(raw)
    if isinstance(raw, bool) or number != int(number):
        raise UsageError(f"expected a whole number, got '{raw}'.")
    return int(number)


def _flag(raw: Any) -> bool:
    words = {"true": True, "yes": True, "false": False, "no": False}
    if str(raw).lower() not in words:
        raise UsageError(f"expected true or false, got '{raw}'.")
    return words[str(raw).lower()]


def _settings(raw: Any) -> dict[str, Any]:
    """Read `iterations=20,crop=[64,64]` as settings; a comma within brackets ends none."""
    if isinstance(raw, dict):
        return raw
    entries = _BETWEEN_SETTINGS.split(raw) if isinstance(raw, str) else _entries(raw)
    words = [str(entry).strip() for entry in entries]
    settings = parse_assignments([word for word in words if word])
    return {name: _setting(name, text) for name, text in settings.items()}


def _setting(name: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{name}={text}: expected a number, a word or [a, list].") from error


_BETWEEN_SETTINGS = re.compile(r",(?![^\[]*\])")

_READERS: dict[str, Callable[[Any], Any]] = {
    "text": str,
    "number": _number,
    "integer": _integer,
    "flag": _flag,
    "words": _words,
    "numbers": lambda raw: _several([_number(entry) for entry in _entries(raw)]),
    "settings": _settings,
}
