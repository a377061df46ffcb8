"""YAML files as checked settings: an error names the file, the line, and the nearest key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from lowfield_recon.errors import UsageError, nearest_name

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

    Model = TypeVar("Model", bound=BaseModel)

_MAX_BYTES = 1 << 20
_Location = tuple[int | str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Document:
    """A YAML file whose every place has a line."""

    path: Path
    """The file."""

    content: dict[str, Any]
    """What it holds."""

    tree: yaml.Node
    """The same with line numbers."""

    def place(self, *location: int | str) -> str:
        """Name file and line of a place, or of what should hold it, as errors begin.

        Parameters
        ----------
        location
            Keys and indices that lead there.

        Returns
        -------
            For instance `"chain.yaml, line 3"`.
        """
        return f"{self.path.name}, line {_line_of(location, self.tree)}"

    def check(
        self, content: object, model: type[Model], location: tuple[int | str, ...] = ()
    ) -> Model:
        """Turn content that stands, or whose source stands, at a place into checked settings.

        Parameters
        ----------
        content
            What to check.
        model
            What it must hold.
        location
            Keys and indices of its place in the file.

        Returns
        -------
            The checked settings.

        Raises
        ------
        UsageError
            If it does not fit the model; the message says in which line.
        """
        from pydantic import ValidationError

        try:
            return model.model_validate(content)
        except ValidationError as error:
            raise UsageError(_explain(error, model, self, location)) from error


def read_document(path: str | Path) -> Document:
    r"""Read a YAML file that holds settings, without checking which.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
        Its content with line numbers.

    Raises
    ------
    UsageError
        If it is no YAML, too large, or names a key twice; the message says in which line.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.yaml"
    >>> _ = path.write_text("# few\niterations: 3")
    >>> read_document(path).place("iterations")
    'a.yaml, line 2'
    """
    path = Path(path)
    if path.stat().st_size > _MAX_BYTES:
        raise UsageError(f"{path.name}: larger than 1 MiB; expected a YAML file with settings.")
    try:
        text = path.read_text(encoding="utf-8")
        _refuse_aliases(text, path.name)
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        _refuse_repeated_keys(tree, path.name)
        content = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path.name}{_mark(error)}: is not valid YAML ({_problem(error)})."
        ) from error
    except RecursionError as error:
        raise UsageError(f"{path.name}: is nested too deeply; expected settings.") from error
    if not isinstance(content, dict) or tree is None:
        raise UsageError(f"{path.name}, line 1: expected settings as 'key: value' lines.")
    return Document(path=path, content=content, tree=tree)


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
    document = read_document(path)
    return document.check(document.content, model)


def _mark(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return "" if mark is None else f", line {mark.line + 1}"


def _problem(error: Exception) -> str:
    return str(getattr(error, "problem", None) or "not UTF-8 text")


def _refuse_aliases(text: str, name: str) -> None:
    """Refuse references inside the file: a few of them can stand for terabytes, or a circle."""
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            line = event.start_mark.line + 1 if event.start_mark is not None else 1
            raise UsageError(
                f"{name}, line {line}: '*{event.anchor}' refers to another place of the file; "
                "expected values written out. Copy the value here."
            )


def _refuse_repeated_keys(node: yaml.Node | None, name: str) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                line = key.start_mark.line + 1
                raise UsageError(f"{name}, line {line}: a key is no word; expected 'key: value'.")
            if key.value in seen:
                line = key.start_mark.line + 1
                raise UsageError(f"{name}, line {line}: '{key.value}' is given twice; keep one.")
            seen.add(key.value)
            _refuse_repeated_keys(value, name)
    elif isinstance(node, yaml.SequenceNode):
        for entry in node.value:
            _refuse_repeated_keys(entry, name)


def _explain(
    error: ValidationError, model: type[BaseModel], document: Document, location: _Location
) -> str:
    """Say the first problem in one line, and how many more there are."""
    details = sorted(error.errors(), key=lambda detail: detail["type"] != "extra_forbidden")
    first = details[0]
    more = f" ({len(details) - 1} more to mend)" if len(details) > 1 else ""
    place = document.place(*location, *first["loc"])
    return f"{place}: {_sentence(first, model)}{more}"


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
        fields = {} if current is None else _fields_of(current)
        if not isinstance(part, str) or part not in fields:
            continue
        candidates = [fields[part].annotation]
        while candidates and not _is_model(candidates[0], BaseModel):
            candidates = [*get_args(candidates[0]), *candidates[1:]]
        current = candidates[0] if candidates else None  # type: ignore[assignment]
    return sorted(_fields_of(current)) if current is not None else []


def _fields_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return fields by the names that the file uses."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


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
