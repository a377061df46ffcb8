"""What one image of a scan says about all of them: centre of k-space, interference, noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lowfield_recon.prepare.interference import SpectralPeak, interference_peaks, noise_peaks
from lowfield_recon.prepare.kspace_centre import KSpaceCentre, kspace_centre

if TYPE_CHECKING:
    from lowfield_recon.scan.records import RawKSpace, Scan

_NAMES = ("k2", "k1", "k0")


@dataclass(frozen=True, slots=True, kw_only=True)
class KSpaceChecks:
    """Centre of k-space and narrow lines of interference, found in the middle slice."""

    image: int
    """Which image was looked at."""

    centre: KSpaceCentre | None
    """Where its centre is; None along a trajectory."""

    peaks: tuple[SpectralPeak, ...] = ()
    """Narrow peaks in the noise readouts, or in the outer lines of k-space."""

    def sentences(self) -> tuple[str, ...]:
        """Say what a user should know.

        Returns
        -------
            A sentence for each thing that is not as expected.

        Examples
        --------
        >>> centre = KSpaceCentre(offset=(0.0, -0.2, 8.1))
        >>> KSpaceChecks(image=0, centre=centre).sentences()
        ('centre of k-space is off by 8.1 samples along k0',)
        """
        found = []
        if self.centre is not None and self.centre.is_off:
            offsets = [
                f"{value:.1f} samples along {name}"
                for name, value in zip(_NAMES, self.centre.offset, strict=True)
                if abs(value or 0.0) >= 1
            ]
            found.append(f"centre of k-space is off by {' and '.join(offsets)}")
        if self.peaks:
            count = "a narrow line" if len(self.peaks) == 1 else f"{len(self.peaks)} narrow lines"
            places = ", ".join(f"{peak.position:+.3f}" for peak in self.peaks[:5])
            found.append(
                f"interference: {count} in the noise, up to "
                f"{max(peak.ratio for peak in self.peaks):.1f} times its power, at {places} of the "
                "readout's extent from its middle; the noise level does not describe them"
            )
        return tuple(found)


def check_kspace(scan: Scan) -> KSpaceChecks:
    """Look at the middle slice of the first volume.

    Parameters
    ----------
    scan
        The scan.

    Returns
    -------
        Where the centre of k-space is, and narrow lines of interference.

    Raises
    ------
    DataError
        If the samples cannot be read.
    """
    image = scan.n_slices // 2
    raw = scan.kspace(image)
    from_noise = () if scan.noise is None else noise_peaks(scan.noise)
    if raw.trajectory is not None:
        return KSpaceChecks(image=image, centre=None, peaks=from_noise)
    return KSpaceChecks(
        image=image,
        centre=_centre(raw),
        peaks=from_noise or interference_peaks(raw.data, raw.mask),
    )


def _centre(raw: RawKSpace) -> KSpaceCentre:
    """Find the centre in the image lines, or in separate calibration lines where there are some."""
    if raw.calibration is not None:
        return kspace_centre(raw.calibration, raw.calibration_mask)
    return kspace_centre(raw.data, raw.mask)
