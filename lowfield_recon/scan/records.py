"""What a file holds after reading: `Scan`, header, images, what was repaired or assumed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch

if TYPE_CHECKING:
    from lowfield_recon.problem import Geometry
    from lowfield_recon.scan.problems import CoilMapChoice, Problems, Undersampling

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
    """Variance factor from the noise scan to the image: dwell-time ratio × relative bandwidth."""

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

    def problems(
        self,
        *,
        coil_maps: CoilMapChoice = "auto",
        prewhitening: bool = True,
        keep_oversampling: bool = False,
        undersampling: Undersampling | None = None,
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
        )

    def describe(self) -> dict[str, Any]:
        """Return what `lowfield-recon info` shows, as values that JSON can hold.

        Returns
        -------
            Format, sizes, physics, sampling, noise, repairs, assumptions and left-out readouts.
        """
        header = self.header
        n_volumes, n_slices = self.volume_shape
        noise = self.noise
        return {
            "file": self.path.name,
            "format": self.format,
            "trajectory": header.trajectory,
            "coils": header.n_coils,
            "volumes": n_volumes,
            "slices": n_slices,
            "encoded_matrix_zyx": list(header.encoded_matrix),
            "recon_matrix_zyx": list(header.recon_matrix),
            "encoded_fov_m_zyx": _as_list(header.encoded_fov_m),
            "recon_fov_m_zyx": _as_list(header.recon_fov_m),
            "field_strength_t": header.field_strength_t,
            "larmor_frequency_hz": header.larmor_frequency_hz,
            "vendor": header.vendor,
            "model": header.model,
            "protocol": header.protocol,
            "echo_time_s": _as_list(header.echo_time_s),
            "repetition_time_s": _as_list(header.repetition_time_s),
            "inversion_time_s": _as_list(header.inversion_time_s),
            "flip_angle_rad": _as_list(header.flip_angle_rad),
            "patient_position": header.patient_position,
            "sampling_fraction": self.source.sampling_fraction(),
            "readouts": self.n_readouts,
            "noise_samples_per_coil": 0 if noise is None else int(noise.shape[-1]),
            "noise_scale": None if noise is None else self.noise_scale,
            "dropped_readouts": dict(self.dropped),
            "repairs": [
                {"code": r.code, "message": r.message, "old": r.old, "new": r.new}
                for r in self.repairs
            ],
            "assumptions": list(self.assumptions),
        }


FileFormat = Literal[
    "ismrmrd",
    "fastmri",
    "m4raw",
    "mrd-images",
    "hdf5",
    "mat-v7.3",
    "mat",
    "npy",
    "npz",
    "bart",
    "dicom",
    "nifti",
    "png",
    "jpeg",
    "tiff",
    "siemens",
    "mrd-stream",
    "mrd2-stream",
]
"""Formats that are told apart by content."""


def _as_list(values: tuple[float, ...] | None) -> list[float] | None:
    return None if values is None else list(values)
