"""YAML files as checked settings: an error names the file, the line, and the nearest key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import yaml

from lowfield_recon.errors import UsageError, nearest_name

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

    Model = TypeVar("Model", bound=BaseModel)

_MAX_BYTES = 1 << 20
_Location = tuple[int | str, ...]


def load_configuration(path: str | Path, model: type[Model]) -> Model:
    r"""Read a YAML file into a pydantic model that forbids unknown keys.

    Parameters
    ----------
    path
        The file.
    model
        What it must hold.

    Returns
    -------
        The checked settings.

    Raises
    ------
    UsageError
        If it is no YAML, too large, names a key twice, or does not fit the model; the message says
        in which line.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from pydantic import BaseModel, ConfigDict
    >>> class Settings(BaseModel):
    ...     model_config = ConfigDict(extra="forbid")
    ...     iterations: int
    >>> path = Path(tempfile.mkdtemp()) / "a.yaml"
    >>> _ = path.write_text("# few\niterations: 3\nseed: 1")
    >>> load_configuration(path, Settings)
    Traceback (most recent call last):
        ...
    lowfield_recon.errors.UsageError: a.yaml, line 3: 'seed' is no setting here. Known: iterations.
    """
    from pydantic import ValidationError

    path = Path(path)
    if path.stat().st_size > _MAX_BYTES:
        raise UsageError(f"{path.name}: larger than 1 MiB; expected a YAML file with settings.")
    try:
        text = path.read_text(encoding="utf-8")
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        _refuse_repeated_keys(tree, path.name)
        content = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path.name}{_mark(error)}: is not valid YAML ({_problem(error)})."
        ) from error
    if not isinstance(content, dict):
        raise UsageError(f"{path.name}: expected settings as 'key: value' lines.")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise UsageError(_explain(error, model, tree, path.name)) from error


def _mark(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return "" if mark is None else f", line {mark.line + 1}"


def _problem(error: Exception) -> str:
    return str(getattr(error, "problem", None) or "not UTF-8 text")


def _refuse_repeated_keys(node: yaml.Node | None, name: str) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                line = key.start_mark.line + 1
                raise UsageError(f"{name}, line {line}: '{key.value}' is given twice; keep one.")
            seen.add(key.value)
            _refuse_repeated_keys(value, name)
    elif isinstance(node, yaml.SequenceNode):
        for entry in node.value:
            _refuse_repeated_keys(entry, name)


def _explain(
    error: ValidationError, model: type[BaseModel], tree: yaml.Node | None, name: str
) -> str:
    """Say the first problem in one line, and how many more there are."""
    details = sorted(error.errors(), key=lambda detail: detail["type"] != "extra_forbidden")
    first = details[0]
    more = f" ({len(details) - 1} more to mend)" if len(details) > 1 else ""
    return f"{name}, line {_line_of(first['loc'], tree)}: {_sentence(first, model)}{more}"


def _sentence(detail: ErrorDetails, model: type[BaseModel]) -> str:
    place = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        known = _keys_at(detail["loc"][:-1], model)
        return f"'{place}' is no setting here. {nearest_name(str(detail['loc'][-1]), known)}"
    if detail["type"] == "missing":
        return f"'{place}' is missing; add it."
    return f"'{place}': {detail['msg'][0].lower()}{detail['msg'][1:]}, got {detail['input']!r}."


def _keys_at(location: _Location, model: type[BaseModel]) -> list[str]:
    """Return the keys that the model knows at a place of the file."""
    from typing import get_args

    from pydantic import BaseModel

    current: type[BaseModel] | None = model
    for part in location:
        if not isinstance(part, str) or current is None or part not in current.model_fields:
            continue
        candidates = [current.model_fields[part].annotation]
        while candidates and not _is_model(candidates[0], BaseModel):
            candidates = [*get_args(candidates[0]), *candidates[1:]]
        current = candidates[0] if candidates else None  # type: ignore[assignment]
    return sorted(current.model_fields) if current is not None else []


def _is_model(candidate: object, base: type) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, base)


def _line_of(location: _Location, tree: yaml.Node | None) -> int:
    """Find the line of a place; of what is missing, the line of what should hold it."""
    node, line = tree, 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            pairs = {key.value: (key, value) for key, value in node.value}
            if str(part) not in pairs:
                break
            key, node = pairs[str(part)]
            line = key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line
