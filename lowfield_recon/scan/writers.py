"""Writers of images: the name picks NIfTI, ISMRMRD images, NumPy, PNG or a folder of DICOM."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch

from lowfield_recon.errors import DataError, UsageError, nearest_name
from lowfield_recon.problem import Geometry
from lowfield_recon.scan.dicom_writer import check_dicom_folder, open_dicom
from lowfield_recon.scan.ismrmrd_image_writer import open_ismrmrd_images
from lowfield_recon.scan.nifti_writer import open_nifti
from lowfield_recon.scan.npy_writer import open_npy
from lowfield_recon.scan.png import open_png
from lowfield_recon.scan.records import ImageIndex, ScanHeader

logger = logging.getLogger(__name__)

Part = Literal["magnitude", "phase", "complex", "both"]
Sink = Callable[[npt.NDArray[np.generic]], None]

ENDINGS = (".nii.gz", ".nii", ".h5", ".npy", ".png")
"""Endings that pick a file's format; a name without one, or with one of these, makes a folder."""

DICOM_ENDINGS = (".dicom", ".dcm")
_FOLDER_RULE = "a name without an ending, or ending in .dicom, makes a folder of DICOM"
_DEFAULT_PART: dict[str, Part] = {".h5": "complex", ".npy": "complex"}
_PARTS = ("magnitude", "phase", "complex", "both")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layout:
    """What a writer must know before the first image comes."""

    n_volumes: int
    """Number of volumes (contrasts, repetitions, ...)."""

    n_slices: int
    """Number of images that make up one volume."""

    shape: tuple[int, int, int]
    """Voxels of one image (z, y, x)."""

    geometries: tuple[Geometry | None, ...]
    """One per image of a volume."""

    header: ScanHeader | bytes | str | None
    """What is known about the measurement, or an ISMRMRD XML header."""

    part: Literal["magnitude", "phase", "complex"]
    """What is written of the complex image."""

    content_hash: Callable[[], bytes]
    """Hash of the images that were appended so far, before a part of them was taken."""

    volumes: tuple[ImageIndex, ...] | None = None
    """Counters of the first image of each volume, where they are known."""


class _Opener(Protocol):
    def __call__(self, path: Path, layout: Layout) -> AbstractContextManager[Sink]: ...


_OPENERS: dict[str, _Opener] = {
    ".nii.gz": open_nifti,
    ".nii": open_nifti,
    ".h5": open_ismrmrd_images,
    ".npy": open_npy,
    ".png": open_png,
    ".dicom": open_dicom,
}


class ImageWriter:
    """Takes images one by one, volume by volume and within it slice by slice."""

    def __init__(
        self,
        sinks: Sequence[tuple[Layout, Sink]],
        paths: Sequence[Path],
        update_hash: Callable[[bytes], None] | None,
    ) -> None:
        self.paths = tuple(paths)
        self._sinks = tuple(sinks)
        self._update_hash = update_hash
        layout = sinks[0][0]
        self._shape = layout.shape
        self.n_expected = layout.n_volumes * layout.n_slices
        self.n_written = 0

    def append(self, image: torch.Tensor) -> None:
        """Write the next image.

        Parameters
        ----------
        image
            Real or complex, `(1, 1, z, y, x)`; leading axes of length 1 may be left out.

        Raises
        ------
        DataError
            If it has another shape, holds NaN or Inf, or comes after the last one expected.
        """
        size = tuple(image.shape)
        if size[-3:] != self._shape or image.numel() != int(np.prod(self._shape)):
            raise DataError(f"image: expected {(1, 1, *self._shape)} (z, y, x), got shape {size}.")
        if self.n_written == self.n_expected:
            raise DataError(f"image: all {self.n_expected} images have already been written.")
        if not bool(torch.isfinite(image).all()):
            raise DataError(f"image {self.n_written}: holds NaN or infinite values; not written.")
        array = image.detach().reshape(self._shape).cpu().resolve_conj().resolve_neg().numpy()
        if self._update_hash is not None:
            self._update_hash(array.tobytes())
        for layout, sink in self._sinks:
            sink(_part_of(array, layout.part))
        self.n_written += 1


def image_ending(path: str | Path) -> str:
    """Return the ending that picks the writer; without one, a folder of DICOM is meant.

    Parameters
    ----------
    path
        Name of the image to be written.

    Returns
    -------
        One of `ENDINGS`; `".dicom"` for a folder of DICOM: a name that ends in `/`, `.dicom` or
        `.dcm`, that has no ending, or that is a folder.

    Raises
    ------
    UsageError
        If there is no writer for it, or the folder holds what is not ours to replace.

    Examples
    --------
    >>> image_ending("brain.NII.GZ"), image_ending("brain.dicom"), image_ending("brain/")
    ('.nii.gz', '.dicom', '.dicom')
    """
    is_folder_name = str(path).endswith("/")
    path, name = Path(path), Path(path).name.lower()
    for ending in ENDINGS:
        if name.endswith(ending) and len(name) > len(ending) and not is_folder_name:
            if path.is_dir():
                raise UsageError(
                    f"{path.name}: is a folder, expected a file; choose another name, or one "
                    "without an ending for a folder of DICOM."
                )
            return ending
    is_dicom = path.suffix.lower() in DICOM_ENDINGS or not path.suffix
    if (is_dicom and not name.startswith(".")) or is_folder_name or path.is_dir():
        check_dicom_folder(path)
        return ".dicom"
    hint = nearest_name(path.suffix, ENDINGS).rstrip(".")
    raise UsageError(
        f"{path.name}: there is no writer for '{path.suffix}'. {hint}; {_FOLDER_RULE}."
    )


def open_image_writer(
    path: str | Path,
    *,
    volume_shape: tuple[int, int],
    image_shape: tuple[int, int, int],
    geometries: Sequence[Geometry | None] | None = None,
    header: ScanHeader | bytes | str | None = None,
    part: Part | None = None,
    volumes: Sequence[ImageIndex] | None = None,
) -> AbstractContextManager[ImageWriter]:
    """Open a file for images that are appended one by one; it appears when all have been written.

    Memory stays at about one image, whatever their number. On an error or an interruption nothing
    is left behind, and a file of that name from before stays as it was.

    Parameters
    ----------
    path
        Name of the file or folder; its ending picks the format, see `image_ending`.
    volume_shape
        Number of volumes, and number of images (slices) in each.
    image_shape
        Voxels of one image (z, y, x).
    geometries
        One per image of a volume, None where nothing is known.
    header
        What is known about the measurement, for ISMRMRD and DICOM.
    part
        `"magnitude"` (float32), `"phase"` (float32, radians), `"complex"` (complex64) or `"both"`:
        two files whose names end in `_magnitude` and `_phase`. None takes complex for `.h5` and
        `.npy` and magnitude for the others.
    volumes
        Counters of the first image of each volume, so that contrasts keep their echo times.

    Returns
    -------
        Context manager that gives an `ImageWriter`.

    Raises
    ------
    UsageError
        If there is no writer for the ending, or the format cannot hold the part.
    DataError
        If the shapes do not fit each other, the slices make no regular volume, or at the end images
        are missing.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "image.npy"
    >>> with open_image_writer(file, volume_shape=(1, 2), image_shape=(1, 4, 6)) as writer:
    ...     for _ in range(2):
    ...         writer.append(torch.ones(1, 1, 1, 4, 6, dtype=torch.complex64))
    >>> np.load(file).shape
    (1, 2, 4, 6)
    """
    ending = image_ending(path)
    part = part or _DEFAULT_PART.get(ending, "magnitude")
    if part not in _PARTS:
        raise UsageError(f"part '{part}': {nearest_name(part, _PARTS)}")
    if part == "complex" and ending in (".png", ".dicom"):
        kind = "a PNG" if ending == ".png" else "an MR image in DICOM"
        raise UsageError(
            f"{Path(path).name}: {kind} cannot hold complex values; ask for magnitude, phase or "
            "both."
        )
    if min(*volume_shape, *image_shape) < 1:
        raise DataError(
            f"image: expected at least one volume, slice and voxel, got volumes and slices "
            f"{tuple(volume_shape)} of {tuple(image_shape)} voxels."
        )
    if geometries is not None and len(geometries) != volume_shape[1]:
        raise DataError(
            f"geometries: expected one for each of the {volume_shape[1]} slices, got "
            f"{len(geometries)}."
        )
    if volumes is not None and len(volumes) != volume_shape[0]:
        raise DataError(
            f"volumes: expected counters for each of the {volume_shape[0]} volumes, got "
            f"{len(volumes)}."
        )
    digest = hashlib.sha256()
    parts: tuple[Literal["magnitude", "phase", "complex"], ...]
    parts = ("magnitude", "phase") if part == "both" else (part,)
    layouts = [
        Layout(
            n_volumes=volume_shape[0],
            n_slices=volume_shape[1],
            shape=image_shape,
            geometries=tuple(geometries) if geometries is not None else (None,) * volume_shape[1],
            header=header,
            part=one,
            content_hash=digest.digest,
            volumes=None if volumes is None else tuple(volumes),
        )
        for one in parts
    ]
    return _open(Path(path), ending, layouts, digest.update if ending == ".dicom" else None)


@contextmanager
def _open(
    path: Path, ending: str, layouts: list[Layout], update_hash: Callable[[bytes], None] | None
) -> Iterator[ImageWriter]:
    written = path.suffix if ending == ".dicom" else path.name[-len(ending) :]
    if ending == ".dicom" and written.lower() not in DICOM_ENDINGS:
        written = ""
    stem = path.name.removesuffix(written)
    paths = [path]
    if len(layouts) > 1:
        paths = [path.with_name(f"{stem}_{layout.part}{written}") for layout in layouts]
    opener = _OPENERS[ending]
    with ExitStack() as stack:
        sinks = [
            (layout, stack.enter_context(opener(one, layout)))
            for one, layout in zip(paths, layouts, strict=True)
        ]
        writer = ImageWriter(sinks, paths, update_hash)
        yield writer
        if writer.n_written < writer.n_expected:
            raise DataError(
                f"{path.name}: {writer.n_written} of {writer.n_expected} images were written; the "
                "file is not kept."
            )


def _part_of(array: npt.NDArray[Any], part: str) -> npt.NDArray[np.generic]:
    if part == "complex":
        return array.astype(np.complex64)
    real: npt.NDArray[Any] = np.abs(array) if part == "magnitude" else np.angle(array)
    return real.astype(np.float32)
