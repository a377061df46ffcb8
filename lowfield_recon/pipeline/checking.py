"""What can be said of a pipeline before its parameters have values: names, types, references."""

from __future__ import annotations

from collections.abc import Mapping

from lowfield_recon.configuration import Document
from lowfield_recon.errors import UsageError, nearest_name
from lowfield_recon.pipeline.plan import PLURAL, PipelinePlan, StepPlan
from lowfield_recon.pipeline.references import Reference, references_in
from lowfield_recon.pipeline.step import StepType


def check_steps(plan: PipelinePlan, document: Document, step_types: Mapping[str, StepType]) -> None:
    """Check names, types, loops and references, which need no values.

    Parameters
    ----------
    plan
        The pipeline.
    document
        Its YAML.
    step_types
        The types of steps that there are.

    Raises
    ------
    UsageError
        If one does not exist or fit; names file and line.
    """
    seen: list[StepPlan] = []
    for index, step in enumerate(plan.steps):
        where = ("steps", index)
        if step.name in plan.parameters or step.name in [other.name for other in seen]:
            raise UsageError(
                f"{document.place(*where, 'name')}: '{step.name}' names another step or parameter "
                "too; choose another name."
            )
        if step.uses not in step_types:
            raise UsageError(
                f"{document.place(*where, 'uses')}: there is no step '{step.uses}'. "
                f"{nearest_name(step.uses, sorted(step_types))}"
            )
        for name in step.for_each:
            _check_loop(name, plan, document.place(*where, "for_each"))
        for location, reference in references_in(dict(step.settings), (*where, "with")):
            place = document.place(*location)
            _check_reference(reference, step, seen, plan, step_types, place)
        for _, reference in references_in(step.save_as):
            place = document.place(*where, "save_as")
            if reference.name not in plan.parameters:
                hint = nearest_name(reference.name, sorted(plan.parameters))
                raise UsageError(f"{place}: {reference}: expected a parameter. {hint}")
        seen.append(step)


def _check_loop(name: str, plan: PipelinePlan, place: str) -> None:
    loops = [known for known, parameter in plan.parameters.items() if parameter.type in PLURAL]
    if name not in loops:
        raise UsageError(
            f"{place}: '{name}' is no parameter with several values ({', '.join(PLURAL)}). "
            f"{nearest_name(name, loops)}"
        )


def _check_reference(
    reference: Reference,
    step: StepPlan,
    earlier: list[StepPlan],
    plan: PipelinePlan,
    step_types: Mapping[str, StepType],
    place: str,
) -> None:
    if reference.name in plan.parameters:
        return
    by_name = {other.name: other for other in earlier}
    if reference.name == step.name:
        raise UsageError(
            f"{place}: {reference}: step '{step.name}' needs its own result (a cycle)."
        )
    if reference.name not in by_name:
        steps = [other.name for other in plan.steps]
        known = [*plan.parameters, *by_name]
        problem = (
            f"step '{reference.name}' comes later; put it before '{step.name}' (no cycles)."
            if reference.name in steps
            else f"no such parameter or earlier step. {nearest_name(reference.name, known)}"
        )
        raise UsageError(f"{place}: {reference}: {problem}")
    outputs = sorted(step_types[by_name[reference.name].uses].outputs)
    if reference.part not in outputs:
        raise UsageError(
            f"{place}: {reference}: step '{reference.name}' has no such output. "
            f"{nearest_name(reference.part or '', outputs)}"
        )
