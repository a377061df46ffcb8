"""Tiny ISMRMRD files with a known image, written with the `ismrmrd` package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import ismrmrd
import numpy as np
import pytest

Builder = Callable[..., "BuiltScan"]


def centred_fft(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Centred orthonormal FFT by numpy, independent of the package's own."""
    shifted = np.fft.ifftshift(x, axes=axes)
    return np.fft.fftshift(np.fft.fftn(shifted, axes=axes, norm="ortho"), axes=axes)


def random_complex(rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)


@dataclass
class Spec:
    """What to write; every field has a default, so that a test names only what it is about."""

    matrix: tuple[int, int, int] = (1, 12, 16)
    """Image (z, y, x)."""
    coils: int = 1
    slices: int = 1
    contrasts: int = 1
    repetitions: int = 1
    phases: int = 1
    sets: int = 1
    averages: int = 1
    average_phases: Sequence[complex] = (1, 1, 1, 1)
    """Factor on the signal of each average."""
    oversampling: int = 1
    is_reversed: bool = False
    """Odd lines are stored backwards."""
    noise_lines: int = 0
    noise_dwell_us: float = 10.0
    extra_flags: Sequence[int] = ()
    """For each flag number one readout of junk that carries it."""
    keep: Callable[[int, int], bool] = lambda row, part: True
    """Which phase encodings are acquired as image lines."""
    calibration: Sequence[int] = ()
    """Rows that are written as calibration."""
    first_row: int = 0
    """Grid row of counter 0 (partial Fourier, reduced resolution)."""
    n_rows: int | None = None
    """Number of counters; None: to the end of the grid."""
    center: int | None = None
    """Centre in the limits; None: where it truly is."""
    counter_start: int = 0
    discard: tuple[int, int] = (0, 0)
    """Junk samples before and after each readout."""
    readout: tuple[int, int] | None = None
    """First and last column that is stored (asymmetric echo)."""
    center_sample: int | None = None
    """Overrides the true centre."""
    fields: Callable[[int, int], dict[str, object]] = lambda row, part: {}
    """Fields and counters of a line that differ from what the format means."""
    slice_order: Sequence[int] | None = None
    """Slice counter of each position."""
    slice_gap_mm: float = 1.0
    directions: np.ndarray = field(default_factory=lambda: np.eye(3))
    """Rows read, phase, slice."""
    position_mm: tuple[float, float, float] = (3.0, -4.0, 5.0)
    vendor: str = "OSI2"
    trajectory: str = "cartesian"
    positions: np.ndarray | None = None
    """Stored trajectory (readouts, samples, dimensions), non-Cartesian."""
    group: str = "dataset"
    mend: Callable[[str], str] = lambda xml: xml
    """Changes the XML text before it is written: the way to put a defect in."""
    seed: int = 0


@dataclass
class BuiltScan:
    path: Path
    image: np.ndarray
    """(contrast, repetition, phase, set, slice, z, y, x)."""
    coil_maps: np.ndarray
    """(coils, z, y, x) with unit sum of squares, over the image's field of view."""
    spec: Spec
    noise: np.ndarray | None = None


def make_header(spec: Spec) -> str:
    z, y, x = spec.matrix
    n_rows = spec.n_rows or y - spec.first_row
    center = y // 2 - spec.first_row if spec.center is None else spec.center

    def limit(maximum: int, middle: int = 0) -> str:
        return f"<minimum>0</minimum><maximum>{maximum}</maximum><center>{middle}</center>"

    def space(name: str, n_x: int, factor: int) -> str:
        return (
            f"<{name}><matrixSize><x>{n_x}</x><y>{y}</y><z>{z}</z></matrixSize><fieldOfView_mm>"
            f"<x>{200 * factor}</x><y>150</y><z>{4 * z}</z></fieldOfView_mm></{name}>"
        )

    counters = {
        "average": spec.averages,
        "slice": spec.slices,
        "contrast": spec.contrasts,
        "phase": spec.phases,
        "repetition": spec.repetitions,
        "set": spec.sets,
    }
    return (
        '<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">'
        "<measurementInformation><patientPosition>HFS</patientPosition>"
        "<protocolName>test</protocolName></measurementInformation>"
        f"<acquisitionSystemInformation><systemVendor>{spec.vendor}</systemVendor>"
        "<systemModel>Halbach</systemModel><systemFieldStrength_T>0.047</systemFieldStrength_T>"
        "<relativeReceiverNoiseBandwidth>0.8</relativeReceiverNoiseBandwidth>"
        f"<receiverChannels>{spec.coils}</receiverChannels></acquisitionSystemInformation>"
        "<experimentalConditions><H1resonanceFrequency_Hz>2001141</H1resonanceFrequency_Hz>"
        "</experimentalConditions><encoding>"
        + space("encodedSpace", x * spec.oversampling, spec.oversampling)
        + space("reconSpace", x, 1)
        + "<encodingLimits>"
        f"<kspace_encoding_step_1>{limit(n_rows - 1, center)}</kspace_encoding_step_1>"
        f"<kspace_encoding_step_2>{limit(z - 1, z // 2)}</kspace_encoding_step_2>"
        + "".join(f"<{name}>{limit(n - 1)}</{name}>" for name, n in counters.items())
        + f"</encodingLimits><trajectory>{spec.trajectory}</trajectory></encoding>"
        "<sequenceParameters><TR>500</TR><TE>20</TE><flipAngle_deg>90</flipAngle_deg>"
        "</sequenceParameters></ismrmrdHeader>"
    )


def smooth_maps(coils: int, shape: tuple[int, int, int]) -> np.ndarray:
    """Smooth complex coil maps with unit sum of squares; ones for a single coil."""
    if coils == 1:
        return np.ones((1, *shape), dtype=np.complex64)
    z, y, x = np.meshgrid(
        *(np.linspace(-1, 1, n) if n > 1 else [0.0] for n in shape), indexing="ij"
    )
    maps = []
    for c in range(coils):
        angle = 2 * np.pi * c / coils
        distance = (x - np.cos(angle)) ** 2 + (y - np.sin(angle)) ** 2 + (z - 0.3 * c) ** 2
        maps.append(np.exp(-0.4 * distance + 1j * (angle + 0.5 * x * (c + 1))))
    stacked = np.stack(maps)
    return (stacked / np.linalg.norm(stacked, axis=0)).astype(np.complex64)


class _Writer:
    def __init__(self, built: BuiltScan, rng: np.random.Generator) -> None:
        self.built, self.spec, self.rng = built, built.spec, rng
        self.file = ismrmrd.Dataset(str(built.path), built.spec.group, mode="w")
        self.file.write_xml_header(built.spec.mend(make_header(built.spec)).encode())
        self.counter = 0

    def append(self, samples: np.ndarray, flags: Sequence[int] = (), **fields: object) -> None:
        positions = fields.pop("positions", None)
        readout = ismrmrd.Acquisition.from_array(
            np.ascontiguousarray(samples, dtype=np.complex64), positions
        )
        readout.scan_counter = self.counter
        readout.sample_time_us = 5.0
        for name, value in fields.items():
            target = readout if hasattr(readout, name) else readout.idx
            setattr(target, name, value)
        for flag in flags:
            readout.setFlag(flag)
        self.file.append_acquisition(readout)
        self.counter += 1

    def line(self, kspace: np.ndarray, row: int, part: int, **fields: object) -> None:
        """Append one line of k-space (coils, k2, k1, k0), stored as the spec says."""
        spec = self.spec
        first, last = spec.readout or (0, kspace.shape[-1] - 1)
        samples = kspace[:, part, row, first : last + 1]
        center = kspace.shape[-1] // 2 - first
        flags = list(fields.pop("flags", ()))
        if spec.is_reversed and row % 2:
            samples, center = samples[:, ::-1], samples.shape[-1] - 1 - center
            flags.append(ismrmrd.ACQ_IS_REVERSE)
        before, after = (1e3 * random_complex(self.rng, (spec.coils, n)) for n in spec.discard)
        usual = {
            "discard_pre": spec.discard[0],
            "discard_post": spec.discard[1],
            "center_sample": center + spec.discard[0]
            if spec.center_sample is None
            else spec.center_sample,
            "kspace_encode_step_1": row - spec.first_row + spec.counter_start,
            "kspace_encode_step_2": part,
        }
        self.append(
            np.concatenate([before, samples, after], axis=1),
            flags,
            **(usual | fields | spec.fields(row, part)),
        )

    def geometry(self, slice_rank: int) -> dict[str, object]:
        spec = self.spec
        read, phase, normal = spec.directions
        middle = (spec.slices - 1) / 2
        offset = (slice_rank - middle) * (4 * spec.matrix[0] + spec.slice_gap_mm)
        return {
            "position": tuple(np.asarray(spec.position_mm) + offset * normal),
            "read_dir": tuple(read),
            "phase_dir": tuple(phase),
            "slice_dir": tuple(normal),
        }


def build(path: Path, spec: Spec) -> BuiltScan:
    """Write a file whose fully sampled reconstruction is a known random image."""
    rng = np.random.default_rng(spec.seed)
    counts = (spec.contrasts, spec.repetitions, spec.phases, spec.sets, spec.slices)
    image = 3 + random_complex(rng, (*counts, *spec.matrix))  # energy in the centre of k-space
    maps = smooth_maps(spec.coils, spec.matrix)
    built = BuiltScan(path=path, image=image, coil_maps=maps, spec=spec)
    writer = _Writer(built, rng)
    if spec.noise_lines:
        built.noise = random_complex(rng, (spec.noise_lines, spec.coils, 64))
        for line in built.noise:
            writer.append(
                line, [ismrmrd.ACQ_IS_NOISE_MEASUREMENT], sample_time_us=spec.noise_dwell_us
            )
    for flag in spec.extra_flags:
        junk = 1e3 * random_complex(rng, (spec.coils, 7 if flag == 23 else spec.matrix[2]))
        writer.append(junk, [flag])
    if spec.positions is None:
        _write_lines(writer, built, counts)
    else:
        _write_trajectory(writer, built)
    writer.file.close()
    return built


def coil_kspace(built: BuiltScan, index: tuple[int, ...]) -> np.ndarray:
    """k-space (coils, k2, k1, k0) of one image, oversampled along the readout."""
    spec = built.spec
    coil_images = built.image[index][None] * built.coil_maps
    n, m = spec.matrix[2], spec.matrix[2] * spec.oversampling
    wide = np.zeros((*coil_images.shape[:-1], m), dtype=np.complex64)
    wide[..., m // 2 - n // 2 : m // 2 - n // 2 + n] = coil_images
    axes = tuple(a for a in (1, 2, 3) if wide.shape[a] > 1)
    kspace = centred_fft(wide, axes).astype(np.complex64)
    return np.conj(kspace) if spec.vendor.lower() == "siemens" else kspace


def _write_lines(writer: _Writer, built: BuiltScan, counts: tuple[int, ...]) -> None:
    spec = built.spec
    order = spec.slice_order or range(spec.slices)
    last_row = spec.first_row + (spec.n_rows or spec.matrix[1] - spec.first_row)
    indices = sorted(np.ndindex(*counts), key=lambda i: (i[:4], order[i[4]]))  # by slice counter
    for c, r, p, s, rank in indices:
        kspace = coil_kspace(built, (c, r, p, s, rank))
        common = {
            "slice": order[rank],
            "contrast": c,
            "repetition": r,
            "phase": p,
            "set": s,
            **writer.geometry(rank),
        }
        for part in range(spec.matrix[0]):
            for row in range(spec.first_row, last_row):
                is_image, is_calibration = spec.keep(row, part), row in spec.calibration
                if not (is_image or is_calibration):
                    continue
                flags = [20 if not is_image else 21] if is_calibration else []
                for average in range(spec.averages):
                    signal = kspace * spec.average_phases[average]
                    writer.line(signal, row, part, flags=flags, average=average, **common)


def _write_trajectory(writer: _Writer, built: BuiltScan) -> None:
    """Samples by the definition of the Fourier transform, no FFT and no NUFFT."""
    spec = built.spec
    y, x = (np.arange(n) - n // 2 for n in spec.matrix[1:])
    coil_images = built.image[0, 0, 0, 0, 0][None] * built.coil_maps
    n_y, n_x = spec.matrix[1:]
    for k in spec.positions:
        scale = np.array([n_x, n_y])[: k.shape[1]]
        kx, ky = (
            k[:, i] * (scale[i] if np.abs(spec.positions).max() <= 0.5 else 1) for i in (0, 1)
        )
        waves_x = np.exp(-2j * np.pi * np.outer(kx, x) / n_x)
        waves_y = np.exp(-2j * np.pi * np.outer(ky, y) / n_y)
        samples = np.einsum("czyx,ky,kx->ck", coil_images, waves_y, waves_x) / np.sqrt(n_x * n_y)
        writer.append(samples, positions=k.astype(np.float32), **writer.geometry(0))


@pytest.fixture
def build_scan(tmp_path: Path) -> Builder:
    """Return a function that writes a scan: `build_scan(coils=2, slices=3, ...)`."""

    def make(name: str = "scan.h5", **options: object) -> BuiltScan:
        return build(tmp_path / name, Spec(**options))  # type: ignore[arg-type]

    return make


@pytest.fixture
def acquired_kspace() -> Callable[[BuiltScan, tuple[int, ...]], np.ndarray]:
    """Return a function that gives the complete k-space (coils, k2, k1, k0) of one image."""
    return coil_kspace
