"""What a file holds after reading: `Scan`, header, images, what was repaired or assumed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch

from lowfield_recon.errors import UsageError, nearest_name

if TYPE_CHECKING:
    from lowfield_recon.prepare.coil_compression import CoilCompression
    from lowfield_recon.prepare.intensity import IntensityScale
    from lowfield_recon.prepare.partial_fourier import PartialFourierMethod
    from lowfield_recon.problem import Geometry
    from lowfield_recon.scan.choices import CoilMapChoice
    from lowfield_recon.scan.problems import Problems, Undersampling

Shape = tuple[int, int, int]
Extent = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """One defect of a file that the reader mended, with the value before and after."""

    code: str
    """Short name of the defect, e.g. `"patient-position-missing"`."""

    message: str
    """What was wrong and what was done, in one sentence."""

    old: str | None = None
    """Text that the file holds; None where it held nothing."""

    new: str | None = None
    """Text that was used instead; None where something was left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanHeader:
    """What a file says about the measurement, in SI units; None where it does not say."""

    encoded_matrix: Shape
    """Size of the grid of k-space samples (z, y, x), readout oversampling included."""

    recon_matrix: Shape
    """Size of the image that the scanner would make (z, y, x)."""

    encoded_fov_m: Extent | None = None
    """Field of view of the encoded grid (z, y, x) [m]."""

    recon_fov_m: Extent | None = None
    """Field of view of the image (z, y, x) [m]."""

    field_strength_t: float | None = None
    """Main field [T]."""

    larmor_frequency_hz: float | None = None
    """Proton frequency [Hz]."""

    trajectory: str = "cartesian"
    """`"cartesian"`, `"epi"`, `"radial"`, `"goldenangle"`, `"spiral"` or `"other"`."""

    n_coils: int = 1
    """Number of receive coils."""

    vendor: str | None = None
    """Maker of the scanner."""

    model: str | None = None
    """Model of the scanner."""

    protocol: str | None = None
    """Name of the protocol."""

    echo_time_s: tuple[float, ...] | None = None
    """Echo times, one per contrast [s]."""

    repetition_time_s: tuple[float, ...] | None = None
    """Repetition times [s]."""

    inversion_time_s: tuple[float, ...] | None = None
    """Inversion times [s]."""

    flip_angle_rad: tuple[float, ...] | None = None
    """Flip angles [rad]."""

    patient_position: str | None = None
    """Position of the patient, e.g. `"HFS"`."""

    dwell_time_s: float | None = None
    """Time between two samples of an image readout [s]."""

    relative_noise_bandwidth: float | None = None
    """Noise bandwidth of the receiver over its sampling bandwidth in the noise scan."""

    limits: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    """Encoding limits (minimum, maximum, centre) by counter name."""

    user_parameters: Mapping[str, str | int | float] = field(default_factory=dict)
    """What a console stored beside the schema, by name; no data of the patient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageIndex:
    """Counters of one image of a scan, as the file has them."""

    slice: int = 0
    contrast: int = 0
    repetition: int = 0
    phase: int = 0
    set: int = 0
    average: int | None = None
    """None where averages were combined."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawKSpace:
    """Samples of one image (a slice or a volume), placed on their grid, before any preparation."""

    data: torch.Tensor
    """k-space `(1, coils, k2, k1, k0)`, complex64, zero where nothing was acquired."""

    mask: torch.Tensor | None = None
    """Acquired samples, bool `(1, 1, k2, k1, 1 or k0)`; None for a non-Cartesian trajectory."""

    trajectory: torch.Tensor | None = None
    """Positions (kz, ky, kx) `(1, k2, k1, k0, 3)` in cycles per encoded field of view, or None."""

    calibration: torch.Tensor | None = None
    """Separate calibration lines on the grid of `data`, or None."""

    calibration_mask: torch.Tensor | None = None
    """Which samples of `calibration` were acquired, `(1, 1, k2, k1, 1 or k0)`, or None."""

    geometry: Geometry | None = None
    """Voxel size, orientation and position on the encoded grid, or None where nothing is known."""


class TargetSource(Protocol):
    """Where the images for scoring come from that a file holds beside its samples."""

    def read_target(self, index: int, name: str) -> torch.Tensor:
        """Read the target of one image, `(1, 1, z, y, x)`, float32."""
        ...


class KSpaceSource(Protocol):
    """Where the samples of a scan come from: one image is read at a time."""

    def read(self, index: int) -> RawKSpace:
        """Read the samples of one image."""
        ...

    def sampling_fraction(self) -> float | None:
        """Return the acquired part of the grid of the first image, None where it has no grid."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scan:
    """A file from a scanner: what it says, which images it holds, and how to read each of them.

    Nothing but headers is in memory; `kspace` and `problems` read one image at a time.
    """

    path: Path
    """The file."""

    format: str
    """Name of the format, see `lowfield_recon.scan.detect`."""

    header: ScanHeader
    """What the file says about the measurement."""

    images: tuple[ImageIndex, ...]
    """The images; slices innermost, sorted by position along their normal."""

    source: KSpaceSource = field(repr=False)
    """Reads the samples."""

    n_slices: int = 1
    """Number of slices per volume; 1 for 3-D scans."""

    repairs: tuple[Repair, ...] = ()
    """Defects of the file that were mended."""

    assumptions: tuple[str, ...] = ()
    """What the file did not say and the reader decided."""

    dropped: Mapping[str, int] = field(default_factory=dict)
    """Readouts that are no part of the images, counted by reason."""

    n_readouts: int | None = None
    """Readouts in the images, or None where the file holds whole arrays."""

    noise: torch.Tensor | None = None
    """Noise samples `(coils, samples)`, complex64, in the unit of the data, or None."""

    noise_scale: float = 1.0
    """Variance factor from the noise scan to the image: dwell-time ratio × relative bandwidth, ×
    the number of averages."""

    targets: tuple[str, ...] = ()
    """Names of the images for scoring that the file holds, e.g. `"reconstruction_rss"`."""

    target_source: TargetSource | None = field(default=None, repr=False)
    """Reads the targets; None where there are none."""

    target_maximum: float | None = None
    """Largest value of the target volume as the file states it, the data range for scoring."""

    @property
    def volume_shape(self) -> tuple[int, int]:
        """Number of volumes and number of slices in each; their product is the number of images."""
        return len(self.images) // self.n_slices, self.n_slices

    def kspace(self, index: int) -> RawKSpace:
        """Read the samples of one image from the file.

        Parameters
        ----------
        index
            Which of `images`; negative counts from the end.

        Returns
        -------
            k-space on its grid or along its trajectory, before any preparation.

        Raises
        ------
        IndexError
            If there is no such image.
        DataError
            If the samples cannot be read or are not finite.
        """
        n = len(self.images)
        if not -n <= index < n:
            raise IndexError(f"image {index}: the scan holds {n} images, 0 to {n - 1}.")
        return self.source.read(index % n)

    def target(self, index: int, name: str | None = None) -> torch.Tensor:
        """Read the image for scoring that the file holds beside the samples of one image.

        Parameters
        ----------
        index
            Which of `images`; negative counts from the end.
        name
            Which of `targets`; None takes the first.

        Returns
        -------
            Target `(1, 1, z, y, x)`, float32, oriented as reconstructions are, on its own grid.

        Raises
        ------
        IndexError
            If there is no such image.
        UsageError
            If the file holds no such target.
        DataError
            If it cannot be read.
        """
        n = len(self.images)
        if not -n <= index < n:
            raise IndexError(f"image {index}: the scan holds {n} images, 0 to {n - 1}.")
        if self.target_source is None:
            raise UsageError(
                f"{self.path.name}: holds no target images; expected a file of training or "
                "validation, e.g. with reconstruction_rss."
            )
        chosen = self.targets[0] if name is None else name
        if chosen not in self.targets:
            raise UsageError(f"target '{chosen}': {nearest_name(chosen, self.targets)}")
        return self.target_source.read_target(index % n, chosen)

    def problems(
        self,
        *,
        coil_maps: CoilMapChoice = "auto",
        prewhitening: bool = True,
        keep_oversampling: bool = False,
        undersampling: Undersampling | None = None,
        coil_compression: CoilCompression | None = None,
        recenter: bool = False,
        partial_fourier: PartialFourierMethod = "zero-filled",
        intensity_scale: IntensityScale = "raw",
    ) -> Problems:
        """Prepare one inverse problem per image, each when it is asked for.

        Parameters
        ----------
        coil_maps
            `"auto"` (ESPIRiT for several coils), `"espirit"`, `"walsh"`, `"inati"`, or a complex
            tensor `(coils, z, y, x)` for all images or `(images or slices, coils, z, y, x)`.
        prewhitening
            Whiten the coils with the noise readouts where there are some; the noise then has
            variance 1.
        keep_oversampling
            Keep the encoded field of view along the readout.
        undersampling
            Leave out samples after the fact; a complete scan then gives the reference for scoring.
        coil_compression
            Compress the coils to fewer virtual ones.
        recenter
            Move the centre of k-space to index n // 2, by whole samples.
        partial_fourier
            How a partial Fourier scan is filled: `"zero-filled"`, `"homodyne"` or `"pocs"`.
        intensity_scale
            `"unit"`: divide data and noise level by one robust number found from the data.

        Returns
        -------
            A sequence that builds a problem, image shape `(1, 1, z, y, x)`, when it is indexed.

        Raises
        ------
        UsageError
            If a choice does not exist or does not fit the scan.
        """
        from lowfield_recon.scan.problems import Problems

        return Problems(
            self,
            coil_maps=coil_maps,
            prewhitening=prewhitening,
            keep_oversampling=keep_oversampling,
            undersampling=undersampling,
            coil_compression=coil_compression,
            recenter=recenter,
            partial_fourier=partial_fourier,
            intensity_scale=intensity_scale,
        )

    def describe(self) -> dict[str, Any]:
        """Return what `lowfield-recon info` shows, as values that JSON can hold.

        Returns
        -------
            Format, sizes, physics, sampling, noise, repairs, assumptions and left-out readouts.
        """
        from lowfield_recon.scan.description import describe_scan

        return describe_scan(self)


FileFormat = Literal[
    "ismrmrd", "fastmri", "m4raw", "mrd-images", "hdf5", "mat-v7.3", "mat", "npy", "npz",
    "bart", "dicom", "nifti", "png", "jpeg", "tiff", "siemens", "mrd-stream", "mrd2-stream",
]  # fmt: skip
"""Formats that are told apart by content."""
