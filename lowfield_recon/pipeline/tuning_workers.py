"""Evaluations of a tuning in this process or side by side in several, one thread each."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

import torch

from lowfield_recon.errors import DataError, LowfieldReconError
from lowfield_recon.pipeline.tuning_evaluation import Evaluator, Outcome, Scoring, Task
from lowfield_recon.problem import ProgressCallback

ProgressOf = Callable[[int], ProgressCallback | None]
EvaluateTasks = Callable[[Sequence[Task], ProgressOf], Iterator[tuple[int, Outcome]]]
"""Tasks in, the index of each and its outcome out, in the order in which they end."""

_JOIN_SECONDS = 5.0


def open_evaluations(scoring: Scoring, workers: int = 1) -> AbstractContextManager[EvaluateTasks]:
    """Open what does the evaluations; each uses one thread, so that their number changes nothing.

    Parameters
    ----------
    scoring
        What is run and how it is judged.
    workers
        Number of processes; 1 computes in this one.

    Returns
    -------
        Context manager that gives the function; at its end all processes are gone.
    """
    return _in_this_process(scoring) if workers == 1 else _in_processes(scoring, workers)


@contextmanager
def _in_this_process(scoring: Scoring) -> Iterator[EvaluateTasks]:
    evaluator = Evaluator(scoring)

    def run(tasks: Sequence[Task], progress_of: ProgressOf) -> Iterator[tuple[int, Outcome]]:
        for index, task in enumerate(tasks):
            yield index, evaluator.evaluate(task, progress_of(index))

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield run
    finally:
        torch.set_num_threads(before)


@contextmanager
def _in_processes(scoring: Scoring, workers: int) -> Iterator[EvaluateTasks]:
    started: list[tuple[SpawnProcess, Connection]] = []

    def run(tasks: Sequence[Task], progress_of: ProgressOf) -> Iterator[tuple[int, Outcome]]:
        while len(started) < min(workers, len(tasks)):
            started.append(_start(scoring))
        waiting = list(enumerate(tasks))[::-1]
        busy: dict[Connection, int] = {}
        idle = [connection for _, connection in started]
        n_done = 0
        while waiting or busy:
            while waiting and idle:
                index, task = waiting.pop()
                connection = idle.pop(0)
                connection.send(task)
                busy[connection] = index
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)  # noqa: S101 - only connections were given
                outcome = _receive(ready)
                idle.append(ready)
                callback = progress_of(n_done)
                n_done += 1
                if callback is not None:
                    callback(1, 1, None)
                yield busy.pop(ready), outcome

    try:
        yield run
    finally:
        for process, connection in started:
            connection.close()
            process.terminate()
        for process, _ in started:
            process.join(_JOIN_SECONDS)


def _start(scoring: Scoring) -> tuple[SpawnProcess, Connection]:
    """Start a worker that Ctrl-C does not reach: this process ends it, and its end ends it too."""
    context = get_context("spawn")
    here, there = context.Pipe()
    # Its first start lets SIGINT through again on Python up to 3.11, so it comes before the block.
    resource_tracker.ensure_running()
    process = context.Process(target=_work, args=(there, scoring), daemon=True)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    there.close()
    return process, here


def _receive(connection: Connection) -> Outcome:
    try:
        answer = connection.recv()
    except (EOFError, ConnectionError) as error:
        raise DataError(
            "a worker process ended before its work did, perhaps for lack of memory; what was "
            "evaluated is kept: run the same command again, with fewer --workers."
        ) from error
    if isinstance(answer, LowfieldReconError):
        raise answer
    assert isinstance(answer, Outcome)  # noqa: S101 - workers send nothing else
    return answer


def _work(connection: Connection, scoring: Scoring) -> None:
    """Do tasks until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    evaluator = Evaluator(scoring)
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        answer: Outcome | LowfieldReconError
        try:
            answer = evaluator.evaluate(task)
        except LowfieldReconError as error:
            answer = error
        except OSError as error:
            answer = DataError(f"{task.image.name}: cannot be read ({error}).")
        try:
            connection.send(answer)
        except OSError:
            return
