"""Evaluations of a tuning as JSON lines, written as they come and never computed again."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.manifest import to_plain
from lowfield_recon.pipeline.tuning_evaluation import Outcome
from lowfield_recon.pipeline.tuning_images import ValidationImage
from lowfield_recon.pipeline.tuning_search import Point

EVALUATIONS = "evaluations.jsonl"


class EvaluationLog:
    """What has been evaluated.

    Parameters
    ----------
    stream
        File that is open for appending and reading, in binary mode.
    fingerprint
        All that the scores depend on besides image and point; the first line of the file.
    searched
        Settings that the values of a point are for.

    Raises
    ------
    UsageError
        If the file belongs to another tuning.
    """

    def __init__(
        self, stream: IO[bytes], fingerprint: Mapping[str, Any], searched: Sequence[str]
    ) -> None:
        self._stream = stream
        self._searched = tuple(searched)
        self._known: dict[tuple[Point, str, str], Outcome] = {}
        lines = self._read()
        if not lines:
            self._write({"tuning": fingerprint})
        elif lines[0] != {"tuning": to_plain(fingerprint)}:
            raise UsageError(_difference(lines[0], to_plain(fingerprint)))
        for line in lines[1:]:
            self._remember(line)

    def outcome(self, point: Point, image: ValidationImage) -> Outcome | None:
        """Look up an evaluation.

        Parameters
        ----------
        point
            Values of the searched settings.
        image
            The image.

        Returns
        -------
            Its outcome, or None where it has not been done.
        """
        return self._known.get((point, image.name, image.sha256))

    def knows(self, image: ValidationImage) -> bool:
        """Say whether anything has been evaluated on an image.

        Parameters
        ----------
        image
            The image.

        Returns
        -------
            True if there is an outcome.
        """
        return any(key[1:] == (image.name, image.sha256) for key in self._known)

    def add(self, point: Point, image: ValidationImage, outcome: Outcome) -> None:
        """Write one line at once, so that it stands there whatever happens next.

        Parameters
        ----------
        point
            Values of the searched settings.
        image
            The image.
        outcome
            What came of it; a failure that may not last is written, but tried again another time.
        """
        self._known[point, image.name, image.sha256] = outcome
        self._write(
            {
                "settings": dict(zip(self._searched, point, strict=True)),
                "image": image.name,
                "sha256": image.sha256,
                "score": None if outcome.score is None else float(outcome.score),
                "seconds": round(outcome.seconds, 3),
                "error": outcome.error,
                "is_lasting": outcome.is_lasting,
            }
        )

    def _read(self) -> list[dict[str, Any]]:
        """Return the whole lines, and cut off one that was interrupted while it was written."""
        self._stream.seek(0)
        lines, end = [], 0
        for line in self._stream:
            try:
                entry = json.loads(line)
            except ValueError:
                break
            if not line.endswith(b"\n") or not isinstance(entry, dict):
                break
            lines.append(entry)
            end += len(line)
        self._stream.truncate(end)
        return lines

    def _remember(self, line: Mapping[str, Any]) -> None:
        try:
            point = tuple(float(line["settings"][name]) for name in self._searched)
            key = (point, str(line["image"]), str(line["sha256"]))
            score, error = line["score"], line["error"]
            outcome = Outcome(
                score=None if score is None else float(score),
                error=None if error is None else str(error),
                seconds=float(line["seconds"]),
            )
            if line["is_lasting"]:
                self._known[key] = outcome
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{EVALUATIONS}: holds a line that no tuning wrote ({error}); choose another "
                "folder, or remove it to start anew."
            ) from error

    def _write(self, entry: Mapping[str, Any]) -> None:
        self._stream.write((json.dumps(to_plain(entry), ensure_ascii=False) + "\n").encode())
        self._stream.flush()


@contextmanager
def open_evaluation_log(
    folder: Path, fingerprint: Mapping[str, Any], searched: Sequence[str]
) -> Iterator[EvaluationLog]:
    """Open the evaluations in a folder, for this process alone.

    Parameters
    ----------
    folder
        Folder of the tuning; made where there is none.
    fingerprint
        All that the scores depend on besides image and point.
    searched
        Settings that the values of a point are for.

    Yields
    ------
        The evaluations.

    Raises
    ------
    UsageError
        If the folder holds another tuning.
    DataError
        If another process is tuning in this folder, or a line is damaged.
    """
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder.name}: is a file; expected the name of a folder.")
    folder.mkdir(exist_ok=True)
    with (folder / EVALUATIONS).open("a+b") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(
                f"{folder.name}: another tuning is writing into this folder; wait for it or choose "
                "another folder."
            ) from error
        yield EvaluationLog(stream, fingerprint, searched)


def _difference(line: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Say what differs between the tuning in the folder and the one that is asked for."""
    found = line.get("tuning")
    if not isinstance(found, dict):
        return f"{EVALUATIONS}: is not what a tuning writes; choose another folder."
    names = [
        name
        for name in dict.fromkeys([*found, *wanted])
        if found.get(name) != wanted.get(name) or (name in found) != (name in wanted)
    ]
    return (
        f"{EVALUATIONS}: the folder holds another tuning, with other {', '.join(names)}; choose "
        "another folder, or remove it to start anew."
    )
