"""The axes along which test scans are shifted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lowfield_recon.evaluation.shifts.records import Level
from lowfield_recon.evaluation.shifts.settings import ScanSettings
from lowfield_recon.learning.example_settings import ExampleSettings

_EXAMPLES = ExampleSettings()
_SNR = _EXAMPLES.snr or (4.0, 40.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One way in which scans differ."""

    name: str
    """Word of the axis in the names of conditions."""

    title: str
    """Name for readers."""

    unit: str
    """Unit of its levels; empty where they have none."""

    note: str
    """What changes, and what stays."""

    levels: tuple[Level, ...] = ()
    """Levels where a study names none; empty for other images, whose domains the study names."""

    is_paired: bool = True
    """Whether the objects are those of the reference."""

    trained: tuple[float, float] | None = None
    """Range from which the examples of a training are drawn by default; None: it has none."""

    companions: tuple[tuple[str, Level], ...] = ()
    """What is set besides, where it would be at its reference: else the axis changes nothing."""

    @property
    def setting(self) -> str | None:
        """Name of the field of `ScanSettings`; None for other images."""
        return self.name.replace("-", "_") if self.is_paired else None

    @property
    def reference(self) -> Level:
        """Level without a shift: the default of `ScanSettings`; empty for other images."""
        if self.setting is None:
            return ""
        default: Level = ScanSettings.model_fields[self.setting].default
        return default

    def is_trained(self, level: Level) -> bool | None:
        """Tell whether examples of a training have such a level.

        Parameters
        ----------
        level
            Level.

        Returns
        -------
            None where the axis has no range.

        Examples
        --------
        >>> AXES["noise"].is_trained(0.2), AXES["noise"].is_trained(0.5)
        (True, False)
        """
        if self.trained is None or isinstance(level, str):
            return None
        return self.trained[0] <= level <= self.trained[1]


_SCANS = (
    Axis(
        name="noise",
        title="Noise",
        unit="of the object's mean",
        note="White complex noise of every sample; its draws are the same at all levels.",
        levels=(0.03, 0.05, 0.1, 0.2, 0.35, 0.5),
        trained=(1 / _SNR[1], 1 / _SNR[0]),
    ),
    Axis(
        name="window",
        title="Resolution window",
        unit="of either axis",
        note="Central rectangle of k-space that is measured.",
        levels=(0.25, 0.4, 0.5, 0.6, 0.8, 1.0),
        trained=_EXAMPLES.window,
    ),
    Axis(
        name="window-shape",
        title="Shape of the window",
        unit="",
        note="An ellipse of the same area, or as large as fits.",
        levels=("rectangle", "ellipse"),
    ),
    Axis(
        name="acceleration",
        title="Acceleration",
        unit="",
        note="One in R lines of the window, a third of them in a complete centre.",
        levels=(1.0, 2.0, 3.0, 4.0),
        trained=(1.0, 1.0),
    ),
    Axis(
        name="mask",
        title="Kind of mask",
        unit="",
        note="Which lines are measured at twofold acceleration; compare with acceleration=2.",
        levels=("random", "regular", "poisson-disc", "fastmri-random", "fastmri-equispaced"),
        companions=(("acceleration", 2.0),),
    ),
    Axis(
        name="contrast",
        title="Contrast curve",
        unit="exponent",
        note="The modulus over its largest to a power; the object's mean is kept.",
        levels=(0.4, 0.6, 1.0, 1.6, 2.5),
        trained=_EXAMPLES.gamma,
    ),
    Axis(
        name="inversion",
        title="Inverted contrast",
        unit="part",
        note="Bright tissue turns dark, as from T1 to T2; the background stays, the mean is kept.",
        levels=(0.0, 0.5, 1.0),
    ),
    Axis(
        name="lesion",
        title="Lesion",
        unit="of the object's mean",
        note="An ellipse with a smooth edge inside the object, brighter or darker.",
        levels=(-0.6, 0.0, 0.3, 0.8, 1.5),
    ),
    Axis(
        name="coils",
        title="Receive coils",
        unit="",
        note="Loops whose true sensitivities the operator knows; noise of each sample as before.",
        levels=(1, 2, 4, 8),
        trained=(min(_EXAMPLES.coils), max(_EXAMPLES.coils)),
    ),
    Axis(
        name="coil-distance",
        title="Distance of the coils",
        unit="of half the diagonal",
        note="Radius of the ring of four loops; compare with coils=4.",
        levels=(1.05, 1.2, 1.6, 3.0),
        companions=(("coils", 4),),
    ),
    Axis(
        name="phase",
        title="Phase of the object",
        unit="rad",
        note="Smooth random phase, the same at all levels but for its size.",
        levels=(0.0, 1.5, 3.0, 6.0, 12.0),
        trained=(0.0, _EXAMPLES.phase_rad),
    ),
    Axis(
        name="off-resonance",
        title="Off-resonance",
        unit="pixels",
        note="Smooth random displacement along the readout that the operator does not know; the "
        "reference is undistorted.",
        levels=(0.0, 0.5, 1.0, 2.0, 4.0),
    ),
    Axis(
        name="gain",
        title="Gain",
        unit="",
        note="All samples times a factor, and with them noise level and reference.",
        levels=(0.01, 0.1, 1.0, 10.0, 100.0),
        trained=_EXAMPLES.scale,
    ),
    Axis(
        name="bias-field",
        title="Shading",
        unit="largest logarithm",
        note="Smooth positive factor, which is part of the reference.",
        levels=(0.0, 0.3, 0.7, 1.2),
    ),
    Axis(
        name="motion",
        title="Translation",
        unit="pixels",
        note="Another position in every shot; the reference is the object during the central one.",
        levels=(0.0, 0.5, 1.0, 2.0, 4.0),
    ),
    Axis(
        name="rotation",
        title="Rotation",
        unit="degrees",
        note="Another angle in every shot; the reference is the object during the central one.",
        levels=(0.0, 1.0, 2.0, 5.0),
    ),
    Axis(
        name="spikes",
        title="Spikes",
        unit="of the samples",
        note="Wide-band bursts on single samples; more spikes keep the fewer ones.",
        levels=(0.0, 1e-4, 1e-3, 1e-2),
    ),
    Axis(
        name="interference",
        title="Narrow-band interference",
        unit="of the object's mean",
        note="Two lines at fixed frequencies off the centre.",
        levels=(0.0, 0.1, 0.3, 1.0),
    ),
)
_IMAGES = (
    Axis(
        name="contrast-images",
        title="Contrast",
        unit="",
        note="Images of another contrast, as T2, FLAIR or proton density after T1.",
        is_paired=False,
    ),
    Axis(
        name="anatomy",
        title="Anatomy",
        unit="",
        note="Images of another part of the body.",
        is_paired=False,
    ),
    Axis(
        name="pathology-images",
        title="Pathology",
        unit="",
        note="Images of patients.",
        is_paired=False,
    ),
    Axis(
        name="field-strength",
        title="Field strength",
        unit="",
        note="Scans that another scanner recorded, made worse; their reference holds noise.",
        is_paired=False,
    ),
    Axis(
        name="natural-images",
        title="Natural images",
        unit="",
        note="Photographs in place of the body.",
        is_paired=False,
    ),
)

AXES: Mapping[str, Axis] = {axis.name: axis for axis in (*_SCANS, *_IMAGES)}
"""All axes by name. Their order is that of the names of composed conditions."""

IMAGE_AXES = tuple(axis.name for axis in _IMAGES)
"""Axes whose levels are domains of images."""
