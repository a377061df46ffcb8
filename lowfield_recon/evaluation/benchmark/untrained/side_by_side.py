"""Jobs one after the other in this process, or side by side in several."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context, resource_tracker
from typing import Any, Protocol

import torch

from lowfield_recon.errors import DataError

_PATIENCE_S = 2.0
"""Time that a process has to end when it is told to."""


class Job(Protocol):
    """Some work whose result JSON can hold."""

    @property
    def name(self) -> str:
        """What the progress bar says."""
        ...

    def key(self, threads: int) -> str:
        """Return the name of its result with that many threads."""
        ...

    def run(self) -> dict[str, Any]:
        """Do it."""
        ...


def run_jobs(
    jobs: Sequence[Job], *, workers: int = 1, threads: int = 1
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Do jobs, and yield the result of each as it ends.

    Parameters
    ----------
    jobs
        The jobs; with several workers they are sent to other processes.
    workers
        Number of processes; 1 works in this one.
    threads
        Threads of each.

    Yields
    ------
        Index of the job and its result.

    Raises
    ------
    DataError
        If a process ends before its work.
    """
    if workers <= 1 or len(jobs) <= 1:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            for index, job in enumerate(jobs):
                yield index, job.run()
        finally:
            torch.set_num_threads(before)
        return
    with _pool(min(workers, len(jobs)), threads) as pool:
        indices = _submitted(pool, jobs)
        try:
            for future in as_completed(indices):
                yield indices[future], future.result()
        except BrokenProcessPool as error:
            raise DataError(
                "a worker process ended before its work did, perhaps for lack of memory; what was "
                "finished is kept: run the same command again, with fewer --workers."
            ) from error


@contextmanager
def _pool(workers: int, threads: int) -> Iterator[ProcessPoolExecutor]:
    """Open processes that all end with this block, also where it fails or is interrupted."""
    before = set(active_children())
    pool = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_begin, initargs=(threads,)
    )
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        ours = set(active_children()) - before
        for process in ours:
            process.terminate()
        for process in ours:
            process.join(_PATIENCE_S)
            process.kill()
        raise
    pool.shutdown()


def _submitted(pool: ProcessPoolExecutor, jobs: Sequence[Job]) -> dict[Future[dict[str, Any]], int]:
    """Hand the jobs over; Ctrl-C does not reach the processes that are started for it."""
    # Its first start lets SIGINT through again on Python up to 3.11, so it comes before the block.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return {pool.submit(_run, job): index for index, job in enumerate(jobs)}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)


def _run(job: Job) -> dict[str, Any]:
    return job.run()
