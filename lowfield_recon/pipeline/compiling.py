"""From YAML and parameters to units of work; every mistake is found here, with its line."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from lowfield_recon.configuration import Document, read_document
from lowfield_recon.errors import LowfieldReconError, UsageError
from lowfield_recon.pipeline.checking import check_steps
from lowfield_recon.pipeline.parameters import file_attribute, find_file, resolve_parameters
from lowfield_recon.pipeline.plan import PipelinePlan, StepPlan
from lowfield_recon.pipeline.references import (
    Location,
    Reference,
    substitute,
    whole_reference,
)
from lowfield_recon.pipeline.step import Input, StepType
from lowfield_recon.pipeline.step_types import STEP_TYPES
from lowfield_recon.pipeline.units import Link, Pipeline, Source, Unit

_FILE_TYPES = ("file", "files")
_MOST_UNITS = 100_000


def compile_pipeline(
    path: str | Path,
    given: dict[str, str] | None = None,
    *,
    step_types: Mapping[str, StepType] = STEP_TYPES,
) -> Pipeline:
    """Check a pipeline as a whole and list its units of work.

    Parameters
    ----------
    path
        The YAML.
    given
        Parameters that the user gave, as text.
    step_types
        The types of steps that there are.

    Returns
    -------
        The pipeline.

    Raises
    ------
    UsageError
        If anything in it does not exist, does not fit or is missing; names file and line.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> from lowfield_recon.resources import shipped_folder
    >>> path = shipped_folder("pipelines") / "natural_images.yaml"
    >>> pipeline = compile_pipeline(path, {"task": "denoise", "method": "tv"})
    >>> [unit.label for unit in pipeline.units][0]
    'degraded photograph=camera.png task=denoise'
    """
    document = read_document(path)
    plan = document.check(document.content, PipelinePlan)
    check_steps(plan, document, step_types)
    parameters = resolve_parameters(plan, document, given or {})
    compiler = _Compiler(plan, document, step_types, parameters)
    for index in range(len(plan.steps)):
        compiler.add_step(index)
    _check_names(compiler.units, document)
    return Pipeline(
        plan=plan, document=document, parameters=parameters, units=tuple(compiler.units)
    )


class _Compiler:
    """Turns steps into units, one step after the other."""

    def __init__(
        self,
        plan: PipelinePlan,
        document: Document,
        step_types: Mapping[str, StepType],
        parameters: Mapping[str, Any],
    ) -> None:
        self.plan = plan
        self.document = document
        self.step_types = step_types
        self.parameters = parameters
        self.units: list[Unit] = []

    def add_step(self, index: int) -> None:
        """Append the units of one step."""
        step = self.plan.steps[index]
        kind = self.step_types[step.uses]
        inputs = kind.inputs()
        where = ("steps", index)
        for bindings in self._combinations(step):
            values = {**self.parameters, **bindings}
            plain: dict[str, Any] = {}
            files: dict[str, tuple[Source, ...]] = {}
            for key, raw in step.settings.items():
                location = (*where, "with", key)
                if key in inputs:
                    files[key] = self._sources(raw, inputs[key], key, values, bindings, location)
                else:
                    plain[key] = self._substituted(raw, values, location)
            settings = self._resolved(kind, plain, files, inputs, (*where, "with"))
            name, folder = self._name(step, kind, values, (*where, "save_as"))
            self.units.append(
                Unit(
                    index=len(self.units),
                    step=step,
                    step_index=index,
                    type=kind,
                    bindings=bindings,
                    settings=settings,
                    files=files,
                    name=name,
                    folder=folder,
                )
            )
            if len(self.units) > _MOST_UNITS:
                place = self.document.place(*where, "for_each")
                raise UsageError(f"{place}: makes more than {_MOST_UNITS} units; use fewer values.")

    def _combinations(self, step: StepPlan) -> Iterator[dict[str, Any]]:
        lists = [self.parameters[name] or [] for name in step.for_each]
        for combination in itertools.product(*lists):
            yield dict(zip(step.for_each, combination, strict=True))

    def _substituted(self, raw: Any, values: Mapping[str, Any], location: Location) -> Any:
        def look_up(reference: Reference) -> Any:
            place = self.document.place(*location)
            if reference.name not in values:
                raise UsageError(
                    f"{place}: '{location[-1]}' takes no file, but {reference} is one."
                )
            value = values[reference.name]
            if reference.part is not None:
                text = file_attribute(value, reference.part) if isinstance(value, Path) else None
                if text is None:
                    raise UsageError(
                        f"{place}: {reference}: only a file has parts, and these are name and stem."
                    )
                return text
            if any(
                isinstance(one, Path) for one in (value if isinstance(value, list) else [value])
            ):
                raise UsageError(
                    f"{place}: '{location[-1]}' takes no file, but {reference} is one; "
                    f"${{{reference.name}.stem}} is its name."
                )
            return value

        return substitute(raw, look_up)

    def _sources(
        self,
        raw: Any,
        wanted: Input,
        key: str,
        values: Mapping[str, Any],
        bindings: Mapping[str, Any],
        location: Location,
    ) -> tuple[Source, ...]:
        """Return where the files of one setting come from."""
        entries = raw if isinstance(raw, list) else [raw]
        sources: list[Source] = []
        for entry in entries:
            reference = whole_reference(entry)
            if reference is None:
                sources += self._literal(entry, values, location)
            elif reference.name in self.parameters:
                sources += self._parameter(reference, values, key, location)
            else:
                sources += self._links(reference, wanted, key, bindings, location)
        if len(sources) > 1 and not wanted.is_list:
            raise UsageError(
                f"{self.document.place(*location)}: '{key}' takes one file, but {raw} are "
                f"{len(sources)}; name what differs in for_each."
            )
        return tuple(sources)

    def _literal(self, entry: Any, values: Mapping[str, Any], location: Location) -> list[Source]:
        if entry is None:
            return []
        text = self._substituted(entry, values, location)
        try:
            return [find_file(str(text), self.document.path.parent)]
        except LowfieldReconError as error:
            raise UsageError(f"{self.document.place(*location)}: {error}") from error

    def _parameter(
        self, reference: Reference, values: Mapping[str, Any], key: str, location: Location
    ) -> list[Source]:
        value = values[reference.name]
        if self.plan.parameters[reference.name].type not in _FILE_TYPES or reference.part:
            raise UsageError(
                f"{self.document.place(*location)}: '{key}' takes a file, but {reference} is "
                "none; a parameter that names files has the type file or files."
            )
        if value is None:
            return []
        return list(value) if isinstance(value, list) else [value]

    def _links(
        self,
        reference: Reference,
        wanted: Input,
        key: str,
        bindings: Mapping[str, Any],
        location: Location,
    ) -> list[Source]:
        """Return the units of another step whose loop values are this unit's own."""
        output = reference.part or ""
        units = [unit for unit in self.units if unit.step.name == reference.name]
        kind = units[0].type.outputs[output] if units else None
        if kind is not None and kind not in wanted.accepts:
            raise UsageError(
                f"{self.document.place(*location)}: '{key}' takes {' or '.join(wanted.accepts)}, "
                f"but {reference} is of the kind {kind}."
            )
        return [
            Link(unit.index, output)
            for unit in units
            if all(
                unit.bindings[name] == value
                for name, value in bindings.items()
                if name in unit.bindings
            )
        ]

    def _resolved(
        self,
        kind: StepType,
        plain: Mapping[str, Any],
        files: Mapping[str, tuple[Source, ...]],
        inputs: Mapping[str, Input],
        location: Location,
    ) -> dict[str, Any]:
        """Check the settings and return all of them, defaults included, without the files."""
        content = {**plain, **with_files(files, inputs, {})}
        checked = self.document.check(content, kind.settings, location)
        return checked.model_dump(mode="json", exclude=set(inputs))

    def _name(
        self, step: StepPlan, kind: StepType, values: Mapping[str, Any], location: Location
    ) -> tuple[str, PurePosixPath | None]:
        if step.save_as is None:
            return kind.default_name, None
        path = PurePosixPath(str(self._substituted(step.save_as, values, location)))
        hidden = any(part.startswith(".") for part in path.parts)
        if path.is_absolute() or hidden or not path.name:
            raise UsageError(
                f"{self.document.place(*location)}: save_as: expected a name inside the output "
                f"folder, got '{path}'."
            )
        return path.name, path.parent


def with_files(
    files: Mapping[str, tuple[Source, ...]],
    inputs: Mapping[str, Input],
    paths: Mapping[Source, Path],
) -> dict[str, Any]:
    """Return the settings that are files in the form that the step's settings take.

    Parameters
    ----------
    files
        Settings and where their files come from.
    inputs
        What the step takes.
    paths
        Where the files of other units lie; those that are not made yet get their output's name.

    Returns
    -------
        Setting and path, list of paths, or None.
    """
    settings: dict[str, Any] = {}
    for key, sources in files.items():
        found = [
            source if isinstance(source, Path) else paths.get(source, Path(source.output))
            for source in sources
        ]
        settings[key] = found if inputs[key].is_list else next(iter(found), None)
    return settings


def _check_names(units: list[Unit], document: Document) -> None:
    """Check that no two units write the same file."""
    taken: dict[PurePosixPath, Unit] = {}
    for unit in units:
        if unit.folder is None:
            continue
        path = unit.folder / unit.name
        if path in taken:
            raise UsageError(
                f"{document.place('steps', unit.step_index, 'save_as')}: '{taken[path].label}' and "
                f"'{unit.label}' would both be saved as {path}; let the name tell them apart, e.g. "
                "by ${parameter}."
            )
        taken[path] = unit
