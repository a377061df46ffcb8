"""What is seen of a method while it works, and what becomes of an image that was interrupted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from lowfield_recon.errors import LowfieldReconError
from lowfield_recon.evaluation.oracle import Oracle
from lowfield_recon.pipeline.previews import PREVIEW_SECONDS, Preview
from lowfield_recon.problem import ImageObserver, ProgressCallback

WROTE_BEST = "interrupted: wrote the best image so far"
"""What is said when an interrupted image was written."""


class InterruptionError(LowfieldReconError):
    """Ctrl-C came, and what the user must know about the image that was being made; exit 130."""

    exit_code = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What a user wants to see of a method besides its result."""

    preview: Path | None = None
    """PNG of the running image, or None."""

    preview_seconds: float = PREVIEW_SECONDS
    """Least time between two previews [s]."""

    oracle: bool = False
    """Whether the best PSNR over all shown images is recorded beside that of the result."""

    keep_interrupted: bool = False
    """Whether the best image so far is written after Ctrl-C; else nothing is."""


class Viewer(Protocol):
    """Looks at images of a method."""

    def wants_image(self, iteration: int) -> bool:
        """Return whether the image of this iteration is to be shown."""
        ...

    def show_image(self, iteration: int, image: torch.Tensor) -> None:
        """Look at an image."""
        ...


class Audience:
    """Everybody who looks at the images of one run.

    Parameters
    ----------
    watch
        What is to be seen.
    method
        Name of the method, for messages.
    white
        Value that previews show white, for photographs; None for scans.
    """

    def __init__(self, watch: Watch, method: str, *, white: float | None = None) -> None:
        """Open the preview, if there is one."""
        self._method = method
        self._preview = (
            None
            if watch.preview is None
            else Preview(watch.preview, seconds=watch.preview_seconds, white=white)
        )
        self._path = watch.preview
        self._wants_oracle = watch.oracle
        self._oracle: Oracle | None = None
        self._has_scored = False

    def admit(
        self,
        progress: ProgressCallback | None,
        *,
        label: str = "",
        psnr_of: Callable[[torch.Tensor], float] | None = None,
    ) -> ProgressCallback | None:
        """Return the callback for the next image.

        Parameters
        ----------
        progress
            Callback that is told the progress, or None.
        label
            What the image is called in the preview.
        psnr_of
            PSNR of an image against the reference, for the oracle; None without reference.

        Returns
        -------
            A callback that shows images too, or `progress` itself where nobody looks at them.
        """
        viewers: list[Viewer] = []
        if self._preview is not None:
            self._preview.begin(label)
            viewers.append(self._preview)
        self._oracle = Oracle(psnr_of) if self._wants_oracle and psnr_of is not None else None
        if self._oracle is not None:
            viewers.append(self._oracle)
        return watched(progress, viewers)

    def oracle_record(self) -> dict[str, Any] | None:
        """Return the oracle's figures of the image that was made last, None without any."""
        record = None if self._oracle is None else self._oracle.record()
        self._has_scored = self._has_scored or record is not None
        return record

    def lines(self) -> list[str]:
        """Return what the user is told at the end."""
        said = []
        if self._preview is not None and self._preview.last is not None:
            said.append(f"preview {self._path}: {self._preview.last}, the last one shown")
        missing = [
            name
            for name, is_missing in (
                ("preview", self._preview is not None and self._preview.last is None
                            and not self._preview.is_broken),
                ("oracle", self._wants_oracle and not self._has_scored),
            )
            if is_missing
        ]  # fmt: skip
        if missing:
            said.append(
                f"no {' and no '.join(missing)}: '{self._method}' shows no images while it runs"
            )
        return said


class _Watched:
    """A progress callback with viewers."""

    def __init__(self, progress: ProgressCallback | None, viewers: Sequence[Viewer]) -> None:
        self._progress = progress
        self._viewers = tuple(viewers)

    def __call__(self, iteration: int, total: int, objective: float | None, /) -> None:
        if self._progress is not None:
            self._progress(iteration, total, objective)

    def wants_image(self, iteration: int) -> bool:
        return any(viewer.wants_image(iteration) for viewer in self._viewers)

    def show_image(self, iteration: int, image: torch.Tensor) -> None:
        for viewer in self._viewers:
            if viewer.wants_image(iteration):
                viewer.show_image(iteration, image)


def watched(
    progress: ProgressCallback | None, viewers: Sequence[Viewer]
) -> ProgressCallback | None:
    """Let viewers look at the images of whatever a progress callback is given to.

    Parameters
    ----------
    progress
        Told the progress as before; if it looks at images itself, it goes on doing so.
    viewers
        Who else looks at images; each is shown those that it wants.

    Returns
    -------
        An `ImageObserver`, or `progress` itself where there are no viewers.

    Examples
    --------
    >>> watched(None, []) is None
    True
    """
    if not viewers:
        return progress
    inner = [progress] if isinstance(progress, ImageObserver) else []
    return _Watched(progress, [*inner, *viewers])


def refuse_interrupted(watch: Watch, out: Path, *, position: int, count: int) -> None:
    """End after an interrupted image, unless it was the last one and may be written.

    Parameters
    ----------
    watch
        Says whether it may be written at all.
    out
        File that holds all images.
    position
        Which image it was, counted from 0.
    count
        How many there are.

    Raises
    ------
    KeyboardInterrupt
        If it may not be written.
    InterruptionError
        If others were still to come, so that there is no complete file.
    """
    if not watch.keep_interrupted:
        raise KeyboardInterrupt
    if position + 1 < count:
        raise InterruptionError(
            f"interrupted in image {position + 1} of {count}: {out.name} holds all images or none "
            "and was not written; choose fewer with --slices, or give each less time with --budget."
        )
