"""Where units of work are done: here one after the other, or on the workers of Dask."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lowfield_recon.errors import MissingDependencyError, UsageError
from lowfield_recon.pipeline.execution import Done, Request, execute

if TYPE_CHECKING:
    from lowfield_recon.problem import ProgressCallback

ProgressOf = Callable[[int], "ProgressCallback | None"]
Scheduler = Callable[[Sequence[Request], ProgressOf], Iterator[tuple[int, Done]]]
"""Requests that do not need each other in, the index of each and what became of it out."""

SYNC = "sync"
_ENVIRONMENT = "distributed.nanny.pre-spawn-environ"
# Dask lets its workers hand memory back at once; arrays that come and go then cost page after page.
_WORKER_MEMORY = {
    f"{_ENVIRONMENT}.MALLOC_TRIM_THRESHOLD_": 1 << 30,
    f"{_ENVIRONMENT}.MALLOC_MMAP_THRESHOLD_": 1 << 25,
    f"{_ENVIRONMENT}.MALLOC_ARENA_MAX": 1,
}
_TIMEOUT_SECONDS = 30


def open_scheduler(name: str) -> AbstractContextManager[Scheduler]:
    """Open what does the units of work.

    Parameters
    ----------
    name
        `"sync"`: one after the other in this process; `"local"`: Dask workers on this machine; or
        the address of a Dask scheduler, whose workers must see the same files.

    Returns
    -------
        Context manager that gives the scheduler.

    Raises
    ------
    MissingDependencyError
        If Dask is needed and not installed.
    UsageError
        If no scheduler answers at the address.

    Examples
    --------
    >>> with open_scheduler("sync") as scheduler:
    ...     list(scheduler([], lambda index: None))
    []
    """
    if name == SYNC:
        return _synchronous()
    if name != "local" and ":" not in name:
        raise UsageError(
            f"--scheduler {name}: expected sync, local or the address of a Dask scheduler, e.g. "
            "tcp://host:8786."
        )
    return _distributed(name)


@contextmanager
def _synchronous() -> Iterator[Scheduler]:
    def run(requests: Sequence[Request], progress_of: ProgressOf) -> Iterator[tuple[int, Done]]:
        for index, request in enumerate(requests):
            yield index, execute(request, progress_of(index))

    yield run


@contextmanager
def _distributed(name: str) -> Iterator[Scheduler]:
    try:
        dask: Any = import_module("distributed")
    except ImportError as error:
        raise MissingDependencyError(
            f"--scheduler {name}: needs Dask: pip install 'lowfield-recon[distributed]'."
        ) from error
    cluster = None
    try:
        if name == "local":
            with import_module("dask").config.set(_WORKER_MEMORY):
                cluster = dask.LocalCluster(
                    threads_per_worker=1,
                    memory_limit=None,
                    dashboard_address=None,
                    silence_logs=logging.ERROR,
                )
            client = dask.Client(cluster)
        else:
            client = dask.Client(name, timeout=_TIMEOUT_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        raise UsageError(
            f"--scheduler {name}: no Dask scheduler answers there ({error}); start one with 'dask "
            "scheduler', or check the address."
        ) from error

    def run(requests: Sequence[Request], _progress_of: ProgressOf) -> Iterator[tuple[int, Done]]:
        futures = {
            client.submit(execute, request, pure=False): index
            for index, request in enumerate(requests)
        }
        for future in dask.as_completed(list(futures)):
            problem = future.exception()
            failed = Done(seconds=0.0, error=f"its worker failed: {problem}")
            yield futures[future], failed if problem is not None else future.result()

    try:
        yield run
    finally:
        client.close()
        if cluster is not None:
            cluster.close()
