"""Images to learn from, kept by subject, so that nobody is on both sides of a split."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from glob import glob, has_magic
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from lowfield_recon.errors import DataError, UsageError, nearest_name
from lowfield_recon.files import sha256_of
from lowfield_recon.scan.arrays import ARRAY_FORMATS, read_array
from lowfield_recon.scan.detect import detect_format
from lowfield_recon.scan.image_reader import read_image

SliceAxis = Literal["shortest", "z", "y", "x"]
"""Axis of a volume that counts its slices."""

_SUFFIXES = (
    ".nii.gz", ".nii", ".npy", ".npz", ".mat", ".cfl", ".h5", ".mrd", ".png", ".jpg", ".jpeg",
    ".tif", ".tiff",
)  # fmt: skip
_AXES = {"z": -3, "y": -2, "x": -1}
_SMALLEST = 16
_LARGEST = 4096
_LARGEST_BYTES = 4 << 30


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageSet:
    """Slices of subjects, as they were stored.

    Examples
    --------
    >>> images = ImageSet(images={"a": (torch.ones(32, 24),), "b": (torch.ones(32, 24),)})
    >>> train, held_out = images.split(["b"])
    >>> train.subjects, held_out.subjects
    (('a',), ('b',))
    """

    images: Mapping[str, tuple[torch.Tensor, ...]]
    """Slices `(y, x)` of each subject, float32 or complex64."""

    files: Mapping[str, Mapping[str, str]] | None = None
    """SHA-256 of each subject's files by name, or None where the images come from no file."""

    licence: str = "not stated"
    """Under which licence the images are."""

    source: str = "not stated"
    """Where they come from."""

    @property
    def subjects(self) -> tuple[str, ...]:
        """Names of the subjects, sorted."""
        return tuple(sorted(self.images))

    @property
    def n_images(self) -> int:
        """Number of slices of all subjects."""
        return sum(len(slices) for slices in self.images.values())

    def split(self, held_out: Sequence[str] | int, seed: int = 0) -> tuple[ImageSet, ImageSet]:
        """Part the subjects into those to train on and those to hold out.

        A number holds out the subjects whose names have the smallest SHA-256 together with the
        seed: the same on every machine, and a subject that is added moves at most one other.

        Parameters
        ----------
        held_out
            Names of the subjects to hold out, or how many.
        seed
            Which of them, where only their number is given.

        Returns
        -------
            The images to train on and those held out.

        Raises
        ------
        UsageError
            If a subject does not exist, or nobody would be left on one of the sides.
        """
        names = self.subjects
        if isinstance(held_out, int):
            ranked = sorted(
                names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest()
            )
            wanted = set(ranked[: max(held_out, 0)])
        else:
            wanted = {held_out} if isinstance(held_out, str) else set(held_out)
            for name in sorted(wanted - set(names)):
                raise UsageError(
                    f"held_out: '{name}' is no subject. {nearest_name(name, list(names))}"
                )
        if not wanted or len(wanted) == len(names) or held_out == 0:
            raise UsageError(
                f"held_out: expected at least one of {len(names)} subjects on either side, got "
                f"{len(wanted)} held out."
            )
        return self.only([n for n in names if n not in wanted]), self.only(sorted(wanted))

    def only(self, subjects: Sequence[str]) -> ImageSet:
        """Return the images of some subjects.

        Parameters
        ----------
        subjects
            Their names.

        Returns
        -------
            The same licence and source, fewer images.
        """
        files = None if self.files is None else {name: self.files[name] for name in subjects}
        return replace(self, images={name: self.images[name] for name in subjects}, files=files)

    def describe(self) -> dict[str, Any]:
        """Say what the set holds, for a record.

        Returns
        -------
            Subjects, number and sizes of the images, licence, source and SHA-256 of the files; a
            dict that JSON can hold.
        """
        slices = [image for name in self.subjects for image in self.images[name]]
        return {
            "subjects": list(self.subjects),
            "n_images": self.n_images,
            "image_sizes": sorted({f"{image.shape[0]}x{image.shape[1]}" for image in slices}),
            "licence": self.licence,
            "source": self.source,
            "files": {
                file: digest
                for name in self.subjects
                for file, digest in sorted((self.files or {}).get(name, {}).items())
            },
        }


def load_images(
    paths: Sequence[str | Path],
    *,
    slice_axis: SliceAxis = "shortest",
    key: str | None = None,
    subject_pattern: str | None = None,
    licence: str = "not stated",
    source: str = "not stated",
) -> ImageSet:
    """Read image files as slices by subject.

    The subject is the file's name without its endings, or what `subject_pattern` finds in it;
    files of one subject are put together. Complex images stay complex, colours become grey, and
    slices that are zero everywhere are left out.

    Parameters
    ----------
    paths
        Files (NIfTI, DICOM, PNG, JPEG, TIFF, ISMRMRD images, arrays), folders of such files, or
        patterns such as `heads/*.nii.gz`. A folder in which no name has the ending of an image is
        read as the DICOM files of one series.
    slice_axis
        Axis (z, y, x) of a volume that counts slices; `"shortest"` takes the one with the fewest
        pixels, z among equals.
    key
        Name of the array in files that hold several.
    subject_pattern
        Regular expression with a group `subject`, searched in the file's name.
    licence, source
        What is known of the images' licence and origin, for the records of what is learnt.

    Returns
    -------
        The images.

    Raises
    ------
    DataError
        If a path is missing, a file cannot be read or holds no usable image, or the images do not
        fit into 4 GiB.
    UsageError
        If `subject_pattern` is no such expression.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> np.save(folder / "head1.npy", np.ones((32, 3, 24), dtype=np.float32))
    >>> images = load_images([folder], licence="CC0-1.0")
    >>> images.subjects, images.n_images, tuple(images.images["head1"][0].shape)
    (('head1',), 3, (32, 24))
    """
    pattern = _compiled(subject_pattern)
    images: dict[str, tuple[torch.Tensor, ...]] = {}
    files: dict[str, dict[str, str]] = {}
    n_bytes = 0
    for path in _files(paths):
        slices = _slices(path, key, slice_axis)
        n_bytes += sum(image.nbytes for image in slices)
        if n_bytes > _LARGEST_BYTES:
            raise DataError(
                f"{path.name}: with it the images exceed {_LARGEST_BYTES >> 30} GiB; give fewer."
            )
        subject = _subject(path, pattern)
        images[subject] = images.get(subject, ()) + slices
        if path.is_file():
            files.setdefault(subject, {})[path.name] = sha256_of(path)
    return ImageSet(images=images, files=files, licence=licence, source=source)


def _compiled(pattern: str | None) -> re.Pattern[str] | None:
    if pattern is None:
        return None
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"subject_pattern: '{pattern}' is no expression: {error}.") from error
    if "subject" not in compiled.groupindex:
        raise UsageError(
            f"subject_pattern: '{pattern}' has no group 'subject'; e.g. (?P<subject>[0-9]+)_T1."
        )
    return compiled


def _files(paths: Sequence[str | Path]) -> Iterator[Path]:
    """Yield each file once, in the order of the paths and by name within a folder."""
    if not paths:
        raise DataError("images: no path was given; expected image files or folders.")
    seen: set[Path] = set()
    for given in paths:
        for path in _expanded(Path(given)):
            if path.resolve() not in seen:
                seen.add(path.resolve())
                yield path


def _expanded(path: Path) -> list[Path]:
    if path.is_dir():
        inside = sorted(p for p in path.iterdir() if p.name.lower().endswith(_SUFFIXES))
        return [p for p in inside if p.is_file() and not p.name.startswith(".")] or [path]
    if path.exists() or not has_magic(str(path)):
        return [path]
    found = sorted(Path(name) for name in glob(str(path)))  # noqa: PTH207 - absolute patterns too
    if not found:
        raise DataError(f"{path.name}: no file matches the pattern in '{path.parent.name or '.'}'.")
    return [file for entry in found for file in (_expanded(entry) if entry.is_dir() else [entry])]


def _subject(path: Path, pattern: re.Pattern[str] | None) -> str:
    if pattern is not None:
        found = pattern.search(path.name)
        if found is None or not found["subject"]:
            raise DataError(
                f"{path.name}: subject_pattern '{pattern.pattern}' finds no subject in the name."
            )
        return found["subject"]
    name = path.name
    for suffix in _SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def _slices(path: Path, key: str | None, slice_axis: SliceAxis) -> tuple[torch.Tensor, ...]:
    volumes = _volumes(path, key)
    size = tuple(volumes.shape[-3:])
    axis = size.index(min(size)) - 3 if slice_axis == "shortest" else _AXES[slice_axis]
    stack = volumes.movedim(axis, -3)
    n_y, n_x = stack.shape[-2:]
    if min(n_y, n_x) < _SMALLEST or max(n_y, n_x) > _LARGEST:
        raise DataError(
            f"{path.name}: slices of {n_y} x {n_x} pixels; expected {_SMALLEST} to {_LARGEST} "
            "along either axis. Is slice_axis right?"
        )
    slices = tuple(image.clone() for image in stack.reshape(-1, n_y, n_x) if bool(image.any()))
    if not slices:
        raise DataError(f"{path.name}: is zero everywhere; there is nothing to learn from.")
    return slices


def _volumes(path: Path, key: str | None) -> torch.Tensor:
    """Return the pixels `(volumes, z, y, x)`."""
    if key is not None and path.is_file() and detect_format(path) in ARRAY_FORMATS:
        data = _named_array(path, key)
    else:
        data = read_image(path).data
    if data.shape[-4] > 1:
        if data.is_complex():
            raise DataError(
                f"{path.name}: has {data.shape[-4]} complex channels; expected one combined image."
            )
        data = data.mean(dim=-4, keepdim=True)
    return data.squeeze(-4).flatten(0, -4)


def _named_array(path: Path, key: str) -> torch.Tensor:
    array = np.asarray(read_array(path, key))
    if array.ndim not in (2, 3):
        raise DataError(
            f"{path.name}: '{key}' has shape {array.shape}; expected an image or slices of it."
        )
    is_complex = np.iscomplexobj(array)
    values = np.array(array, dtype=np.complex64 if is_complex else np.float32, order="C")
    if not np.isfinite(values).all():
        raise DataError(f"{path.name}: '{key}' holds NaN or infinite values.")
    return torch.from_numpy(values).reshape((1,) * (5 - values.ndim) + values.shape)
