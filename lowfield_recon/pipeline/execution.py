"""One unit of work: its step is called in a temporary folder, which then becomes a cache entry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from lowfield_recon.errors import DataError, LowfieldReconError
from lowfield_recon.files import atomic_path
from lowfield_recon.pipeline.cache import FILES, write_entry
from lowfield_recon.pipeline.step import Function, StepSettings, load_function
from lowfield_recon.progress import nested_bars

if TYPE_CHECKING:
    from lowfield_recon.problem import ProgressCallback


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Request:
    """Everything that a unit needs, also on another machine with the same files."""

    function: Function
    """Function of the step."""

    settings_type: type[StepSettings]
    """Type of its settings."""

    settings: Mapping[str, Any]
    """Settings with the paths of the files."""

    name: str
    """Name of the main output."""

    folder: Path
    """Folder of the cache entry to make."""

    recipe: Mapping[str, Any]
    """All that the result depends on."""

    outputs: tuple[str, ...]
    """Outputs that the step must give."""

    n_threads: int
    """Threads of torch; their number changes the last digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What became of a request."""

    seconds: float
    """How long it took."""

    error: str | None = None
    """What went wrong, in one line, or None."""


def execute(request: Request, progress: ProgressCallback | None = None) -> Done:
    """Make a cache entry, whole or not at all.

    Parameters
    ----------
    request
        What to do.
    progress
        Called as `progress(iteration, total, objective)`, or None.

    Returns
    -------
        How long it took, and what went wrong if anything did.
    """
    import torch

    start = perf_counter()
    before = torch.get_num_threads()
    torch.set_num_threads(request.n_threads)
    error = None
    try:
        _make(request, progress)
    except (LowfieldReconError, OSError, MemoryError, RuntimeError) as problem:
        error = " ".join(str(problem).split()) or type(problem).__name__
    finally:
        torch.set_num_threads(before)
    return Done(seconds=perf_counter() - start, error=error)


def _make(request: Request, progress: ProgressCallback | None) -> None:
    settings = request.settings_type.model_validate(request.settings)
    with atomic_path(request.folder) as temporary:
        (temporary / FILES).mkdir(parents=True)
        out = temporary / FILES / request.name
        result = load_function(request.function)(settings, out, nested_bars(progress))
        missing = [
            name
            for name in request.outputs
            if name not in result.outputs or not result.outputs[name].exists()
        ]
        if missing:
            raise DataError(
                f"{request.name}: the step did not write its output {', '.join(missing)}; this is "
                "a fault of the step."
            )
        write_entry(temporary, request.recipe, result.outputs, result.notes)
