"""The images of a study, by domain: what its manifest names, or the samples that ship."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator

from lowfield_recon.errors import DataError, UsageError, nearest_name
from lowfield_recon.evaluation.shifts.axes import IMAGE_AXES
from lowfield_recon.evaluation.shifts.conditions import compose
from lowfield_recon.evaluation.shifts.reading import image_items, recorded_items
from lowfield_recon.evaluation.shifts.records import Condition, StudyImage
from lowfield_recon.learning.image_set import SliceAxis
from lowfield_recon.resources import sample_names, sample_path
from lowfield_recon.scan.detect import detect_format


class ImageSetSettings(BaseModel):
    """One domain of images in the manifest of a study.

    Examples
    --------
    >>> ImageSetSettings(domain="knee", axis="anatomy", images=["knees/"], slices=3).domain
    'knee'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    domain: str = Field(description="name of the domain, which is the level of its axis")
    axis: str | None = Field(
        default=None, description="axis whose level it is; None for the images of the reference"
    )
    images: tuple[str, ...] = Field(
        min_length=1,
        description="image files, folders, patterns, recorded scans (ISMRMRD, fastMRI, M4Raw with "
        "k-space), or names of shipped samples",
    )
    subjects: tuple[str, ...] | int | None = Field(
        default=None, description="names of the subjects to take, or how many; None takes all"
    )
    subject: str | None = Field(
        default=None, description="the subject whom all files show, e.g. in several contrasts"
    )
    subject_pattern: str | None = Field(
        default=None, description="regular expression with a group 'subject', found in file names"
    )
    slices: int = Field(default=1, ge=1, description="middle slices of each subject or scan")
    slice_axis: SliceAxis = Field(default="shortest", description="axis of a volume's slices")
    key: str | None = Field(default=None, description="array in files that hold several")
    matrix: int | None = Field(
        default=None, ge=16, description="largest k-space: finer detail is cut off [samples]"
    )
    crop: int | None = Field(
        default=None, ge=16, description="largest image: the middle is kept [pixels]"
    )
    licence: str = Field(default="not stated", description="under which licence they are")
    source: str = Field(default="not stated", description="where they come from")

    @field_validator("domain")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if not value.strip() or "+" in value or "=" in value:
            raise ValueError(f"expected a name without '+' and '=', got '{value}'")
        return value.strip()

    @field_validator("axis")
    @classmethod
    def _is_an_axis(cls, value: str | None) -> str | None:
        if value is not None and value not in IMAGE_AXES:
            raise ValueError(f"'{value}' is none of images; {nearest_name(value, IMAGE_AXES)}")
        return value


DEFAULT_SETS = (
    ImageSetSettings(
        domain="brain T2", images=("brain_4coil_t2w.h5",), matrix=128, licence="MIT",
        source="gpuNUFFT demonstration",
    ),
    ImageSetSettings(
        domain="brain 0.055 T", axis="field-strength", subject="patient_6a", slices=2,
        images=("brain_0055t_t2w.h5", "brain_0055t_t1w.h5", "brain_0055t_flair.h5"),
        licence="CC0-1.0", source="github.com/bispmri/Ultra-low-field-MRI-Scanner",
    ),
    ImageSetSettings(
        domain="photograph", axis="natural-images", images=("camera.png",), matrix=128,
        licence="CC0-1.0", source="scikit-image",
    ),
)  # fmt: skip
"""Images that ship: enough to run a study, too few subjects for its intervals to mean much."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StudyImages:
    """All images of a study."""

    images: tuple[StudyImage, ...]
    """Images by domain in the order of the manifest, then by subject and slice."""

    reference_domain: str
    """Domain of the images that paired shifts are applied to."""

    axis_of_domain: tuple[tuple[str, str], ...]
    """Domains of other images, and the axis that each belongs to."""

    sources: tuple[dict[str, Any], ...]
    """Licence, origin, files and their number of images by domain, for a record."""

    def of(self, condition: Condition) -> tuple[StudyImage, ...]:
        """Return the images that are scanned under a condition.

        Parameters
        ----------
        condition
            Condition.

        Returns
        -------
            Images of its domain.

        Raises
        ------
        UsageError
            If there are no images of that domain.
        """
        domain = self.reference_domain if condition.domain is None else condition.domain
        found = tuple(image for image in self.images if image.domain == domain)
        if not found:
            known = [self.reference_domain, *(name for name, _ in self.axis_of_domain)]
            raise UsageError(
                f"condition '{condition.name}': there are no images of '{domain}'. "
                f"{nearest_name(domain, known)}"
            )
        return found

    def conditions(self) -> list[Condition]:
        """Return one condition per domain of other images, with nothing else shifted.

        Returns
        -------
            Conditions with the default settings, in the order of the manifest.
        """
        return [compose({axis: domain}) for domain, axis in self.axis_of_domain]


def load_study_images(
    sets: Sequence[ImageSetSettings] = DEFAULT_SETS, *, folder: Path | None = None
) -> StudyImages:
    """Read the images of a study.

    The first set without an axis holds the images of the reference. Each image is divided by its
    largest modulus and cut to sizes that are multiples of four. Of complex images the modulus
    counts; scans of several coils give the root of the sum of squares over the coils as an image;
    scans of one coil stay recorded scans, with their noise.

    Parameters
    ----------
    sets
        Domains.
    folder
        What relative paths start from; None: the current folder.

    Returns
    -------
        The images.

    Raises
    ------
    DataError
        If a file is missing, cannot be read, or holds an incomplete scan.
    UsageError
        If there is no reference, a domain is there twice, a set is no reference and has no axis, a
        subject is unknown, or an option does not fit the files.

    Examples
    --------
    >>> images = load_study_images(DEFAULT_SETS[:1])
    >>> images.images[0].name, tuple(images.images[0].pixels.shape)
    ('brain_4coil_t2w, slice 0', (1, 1, 1, 128, 128))
    """
    reference = _checked_domains(sets)
    images: list[StudyImage] = []
    sources: list[dict[str, Any]] = []
    for entry in sets:
        found, files = _load(entry, folder)
        images += found
        sources.append(
            {
                "domain": entry.domain,
                "licence": entry.licence,
                "source": entry.source,
                "n_images": len(found),
                "subjects": sorted({image.subject for image in found}),
                "files": files,
            }
        )
    return StudyImages(
        images=tuple(images),
        reference_domain=reference,
        axis_of_domain=tuple((s.domain, s.axis) for s in sets if s.axis is not None),
        sources=tuple(sources),
    )


def _checked_domains(sets: Sequence[ImageSetSettings]) -> str:
    """Return the domain of the reference."""
    names = [entry.domain for entry in sets]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"images: domain '{name}' is there twice; give all its files at once.")
    references = [entry.domain for entry in sets if entry.axis is None]
    if len(references) != 1:
        raise UsageError(
            f"images: {len(references)} domains without an axis ({', '.join(references)}); "
            f"expected one, the reference. Others belong to an axis: {', '.join(IMAGE_AXES)}."
        )
    return references[0]


def _load(entry: ImageSetSettings, folder: Path | None) -> tuple[list[StudyImage], dict[str, str]]:
    """Read one domain; also return the SHA-256 of its files."""
    paths = [_located(word, folder) for word in entry.images]
    scans = [path for path in paths if _is_scan(path)]
    pictures = [path for path in paths if path not in scans]
    found: list[StudyImage] = []
    files: dict[str, str] = {}
    if pictures:
        items, digests = image_items(
            pictures,
            slice_axis=entry.slice_axis,
            key=entry.key,
            subject_pattern=entry.subject_pattern,
            slices=entry.slices,
            matrix=entry.matrix,
            crop=entry.crop,
        )
        files |= digests
        found += [_named(item.subject, item.name, item.pixels, None, entry) for item in items]
    if scans:
        items, digests = recorded_items(
            scans,
            subject_pattern=entry.subject_pattern,
            slices=entry.slices,
            matrix=entry.matrix,
            crop=entry.crop,
        )
        files |= digests
        found += [
            _named(item.subject, item.name, item.pixels, item.noise_std, entry) for item in items
        ]
    return _chosen(found, entry), files


def _located(word: str, folder: Path | None) -> Path:
    path = Path(word).expanduser()
    path = path if folder is None or path.is_absolute() else folder / path
    return sample_path(word) if word in sample_names() and not path.exists() else path


def _is_scan(path: Path) -> bool:
    return path.is_file() and detect_format(path) in ("ismrmrd", "fastmri", "m4raw")


def _named(
    subject: str,
    name: str,
    pixels: torch.Tensor,
    noise_std: float | None,
    entry: ImageSetSettings,
) -> StudyImage:
    return StudyImage(
        name=name,
        subject=entry.subject or subject,
        domain=entry.domain,
        pixels=pixels,
        noise_std=noise_std,
    )


def _chosen(images: Sequence[StudyImage], entry: ImageSetSettings) -> list[StudyImage]:
    """Keep the images of the wanted subjects."""
    names = sorted({image.subject for image in images})
    if entry.subjects is None:
        return list(images)
    if isinstance(entry.subjects, int):
        if not 1 <= entry.subjects <= len(names):
            raise UsageError(
                f"{entry.domain}: subjects: expected 1 to {len(names)}, which there are, got "
                f"{entry.subjects}."
            )
        wanted = set(_ranked(names)[: entry.subjects])
    else:
        wanted = set(entry.subjects)
        for name in sorted(wanted - set(names)):
            raise UsageError(f"{entry.domain}: '{name}' is no subject. {nearest_name(name, names)}")
    kept = [image for image in images if image.subject in wanted]
    if not kept:
        raise DataError(f"{entry.domain}: no image is left; expected at least one subject.")
    return kept


def _ranked(names: Sequence[str]) -> list[str]:
    """Order names by their hash: the choice of some is the same everywhere, and no one's."""
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
