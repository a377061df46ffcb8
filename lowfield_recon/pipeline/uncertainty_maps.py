"""Maps of the standard deviation of each pixel, written beside the images of a scan."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from lowfield_recon.errors import UsageError
from lowfield_recon.evaluation.resampling import known_noise
from lowfield_recon.evaluation.uncertainty import uncertainty_map
from lowfield_recon.pipeline.watching import InterruptionError
from lowfield_recon.problem import InverseProblem, ProgressCallback
from lowfield_recon.progress import nested_bars
from lowfield_recon.reconstructors import Reconstructor
from lowfield_recon.reconstructors.interruption import is_interrupted
from lowfield_recon.scan.records import ImageIndex
from lowfield_recon.scan.writers import ENDINGS, ImageWriter, image_ending

WROTE_NOTHING = (
    "interrupted: the images and their maps of uncertainty are written together or not at all; "
    "nothing was written."
)
"""What is said when a method was interrupted beside which a map was to be made."""

Share = Callable[[int], ProgressCallback | None]
"""Number of a reconstruction of one image (0: the image, then the draws) -> its progress."""

_QUANTITY = (
    "standard deviation of the magnitude of each pixel, in the unit of the image, over "
    "reconstructions of the data with new noise added"
)
_SHOWS = "variance: how noise of the data becomes noise of the image"
_DOES_NOT_SHOW = (
    "bias: what the method does wrong each time (edges smoothed away, structures invented), or an "
    "error of the noise level, coil maps or preparation, which are the same in all draws"
)
_SEEDS = 1 << 32
_SHARED = (
    "method", "settings", "seed", "device", "noise_std", "repairs", "assumptions", "steps",
    "data_divided_by",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class UncertaintyChoice:
    """How the standard deviation of each pixel is estimated."""

    draws: int
    """Number of reconstructions besides the image itself, at least 2."""

    seed: int = 0
    """Seed of the noise; image number i of the scan takes seed + i."""

    def __post_init__(self) -> None:
        """Refuse what has no standard deviation."""
        if self.draws < 2:
            raise UsageError(
                f"--uncertainty {self.draws}: expected at least 2 draws; 16 give each standard "
                "deviation to about a fifth."
            )
        if not 0 <= self.seed < _SEEDS:
            raise UsageError(f"--uncertainty-seed {self.seed}: expected 0 to {_SEEDS - 1}.")


def std_path(out: Path, taken: Iterable[Path | None] = ()) -> Path:
    """Return the name of the map that belongs to an image.

    Parameters
    ----------
    out
        Name of the image.
    taken
        Other files that are read or written.

    Returns
    -------
        The same name with `_std` before the ending.

    Raises
    ------
    UsageError
        If the image becomes a folder of DICOM, or the name is that of another file or of a folder.

    Examples
    --------
    >>> std_path(Path("out/image.nii.gz")).name
    'image_std.nii.gz'
    """
    ending = image_ending(out)
    if ending == ".dicom":
        raise UsageError(
            f"--uncertainty: {out.name} becomes a folder of DICOM, which holds no map of "
            f"uncertainty; choose a name that ends in {', '.join(ENDINGS)}."
        )
    written = out.name[-len(ending) :]
    path = out.with_name(f"{out.name.removesuffix(written)}_std{written}")
    image_ending(path)
    if path.resolve() in {other.resolve() for other in taken if other is not None}:
        raise UsageError(
            f"--uncertainty: the map {path.name} has the name of another file of this command; "
            "choose a different --out."
        )
    return path


class UncertaintyMaps:
    """Makes the map of one image after the other; does nothing where none was asked for.

    Parameters
    ----------
    choice
        Number of draws and seed, or None for no maps.
    writer
        Takes the maps, or None.
    """

    def __init__(self, choice: UncertaintyChoice | None, writer: ImageWriter | None) -> None:
        """Start without images."""
        self._choice = choice
        self._writer = writer
        self._images: list[dict[str, Any]] = []

    def share(self, progress: ProgressCallback | None) -> Share:
        """Divide the progress of one image among its reconstructions.

        Parameters
        ----------
        progress
            Told the progress of the image, or None.

        Returns
        -------
            Callback of each reconstruction.
        """
        if self._choice is None:
            return lambda _number: progress
        with nested_bars(progress)("", 1 + self._choice.draws) as share:
            return share

    def refuse_interrupted(self) -> None:
        """End after an image that was interrupted, since its map can no longer be made.

        Raises
        ------
        InterruptionError
            If there are maps to be made.
        """
        if self._choice is not None:
            raise InterruptionError(WROTE_NOTHING)

    def add(
        self,
        reconstructor: Reconstructor[Any],
        problem: InverseProblem,
        image: torch.Tensor,
        *,
        number: int,
        counters: ImageIndex,
        share: Share,
    ) -> None:
        """Draw noise for one image and write the standard deviation of its pixels.

        Parameters
        ----------
        reconstructor
            The method.
        problem
            The image's data, operator and noise level.
        image
            What the method made of them, shape `problem.shape`.
        number
            Number of the image in the scan, which is added to the seed.
        counters
            Which image of the scan it is.
        share
            Progress of each draw.

        Raises
        ------
        UsageError
            If the noise level is zero.
        InterruptionError
            If a method that returns its best image so far was interrupted.
        """
        if self._choice is None or self._writer is None:
            return
        start, seed = time.perf_counter(), self._choice.seed + number
        found = uncertainty_map(
            _drawing(reconstructor, share),
            problem,
            draws=self._choice.draws,
            seed=seed,
            image=image,
        )
        self._writer.append(found.std)
        self._images.append(
            {
                "counters": asdict(counters),
                "seed": seed,
                "noise_std": found.noise_std,
                "mean": float(found.std.mean()),
                "data_range": [float(found.std.min()), float(found.std.max())],
                "seconds": round(time.perf_counter() - start, 4),
            }
        )

    def written(
        self,
        record: Mapping[str, Any],
        *,
        noise_source: str,
        write: Callable[..., Path],
    ) -> Iterator[str]:
        """Write the JSON beside the maps and say what they are.

        Parameters
        ----------
        record
            What the JSON beside the images says.
        noise_source
            Where the noise level comes from.
        write
            `write_manifest` with all but the name of the image and the results filled in.

        Yields
        ------
            Lines for the user.
        """
        if self._choice is None or self._writer is None:
            return
        results = {name: record[name] for name in _SHARED}
        results["seconds"] = round(sum(image["seconds"] for image in self._images), 4)
        ranges = [image["data_range"] for image in self._images]
        results["data_range"] = [min(low for low, _ in ranges), max(high for _, high in ranges)]
        results["uncertainty"] = self._description(noise_source)
        results["images"] = self._images
        for path in self._writer.paths:
            write(path, results=results)
            yield f"wrote {path}"
        yield (
            f"uncertainty: standard deviation of each pixel over {self._choice.draws} draws of the "
            f"noise, whose level is {noise_source}; it shows variance, not bias"
        )

    def _description(self, noise_source: str) -> dict[str, Any]:
        """Say what the map is, for somebody who finds it alone."""
        choice = self._choice
        assert choice is not None  # noqa: S101 - called where maps were made
        levels = {image["noise_std"] for image in self._images}
        return {
            "quantity": _QUANTITY,
            "shows": _SHOWS,
            "does_not_show": _DOES_NOT_SHOW,
            "draws": choice.draws,
            "seed": choice.seed,
            "varied": "noise only; the method's own seed stays",
            "noise_added_to": "the data as they are",
            "noise_std": levels.pop() if len(levels) == 1 else "see images",
            "noise_source": noise_source,
            "relative_sampling_error": 1 / math.sqrt(2 * (choice.draws - 1)),
        }


@contextmanager
def open_uncertainty_maps(
    choice: UncertaintyChoice | None,
    out: Path,
    opener: Callable[..., AbstractContextManager[ImageWriter]],
    first: InverseProblem,
) -> Iterator[UncertaintyMaps]:
    """Open the file of the maps, which appears when all have been written.

    Parameters
    ----------
    choice
        Number of draws and seed, or None for no maps.
    out
        Name of the image file.
    opener
        Opens a file of that name for as many images as the scan's.
    first
        Problem of the first image.

    Yields
    ------
        What makes the maps.

    Raises
    ------
    UsageError
        If the name cannot be that of a map, or there is no noise to draw.
    """
    if choice is None:
        yield UncertaintyMaps(None, None)
        return
    known_noise(first)
    with opener(std_path(out), part="magnitude") as writer:
        yield UncertaintyMaps(choice, writer)


def _drawing(
    reconstructor: Reconstructor[Any], share: Share
) -> Callable[[InverseProblem], torch.Tensor]:
    """Return the method as a function that shows its progress and refuses interrupted images."""
    numbers = itertools.count(1)

    def image_of(problem: InverseProblem) -> torch.Tensor:
        progress = share(next(numbers))
        result = reconstructor.reconstruct(problem, progress=progress)
        if is_interrupted(result):
            raise InterruptionError(WROTE_NOTHING)
        if progress is not None:
            progress(1, 1, None)
        return result.image

    return image_of
