"""The k-space writer against ismrmrd, mrpro and our own reader."""

from __future__ import annotations

from pathlib import Path

import h5py
import ismrmrd
import numpy as np
import pytest
from mrpro.data import KData
from mrpro.data.traj_calculators import KTrajectoryCartesian, KTrajectoryIsmrmrd

from lowfield_recon.errors import DataError
from lowfield_recon.problem import Geometry
from lowfield_recon.scan.ismrmrd_writer import write_ismrmrd_kspace
from lowfield_recon.scan.load import load_scan
from lowfield_recon.scan.records import ScanHeader

SHAPE = (2, 3, 4, 2, 1, 9, 12)  # contrast, repetition, slice, coil, k2, k1, k0
GEOMETRY = Geometry(
    voxel_size_m=(7e-3, 0.09 / 9, 0.24 / 12),
    x_direction=(0.0, 1.0, 0.0),
    y_direction=(0.0, 0.0, -1.0),
    z_direction=(1.0, 0.0, 0.0),  # left-handed
    position_m=(0.01, 0.02, 0.03),
)


def random_kspace(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """A file with every axis in use, its samples and its mask."""
    kspace = random_kspace()
    mask = np.random.default_rng(1).random((2, 3, 4, 1, 1, 9, 1)) < 0.7
    mask[..., 4, :] = True
    file = tmp_path / "scan.h5"
    write_ismrmrd_kspace(
        file,
        kspace,
        mask=mask,
        fov_m=(5e-3, 0.09, 0.24),
        field_strength_t=0.055,
        geometry=GEOMETRY,
        slice_spacing_m=7e-3,
        dwell_time_s=8e-6,
        header=ScanHeader(
            encoded_matrix=(1, 1, 1),
            recon_matrix=(1, 1, 1),
            vendor="OSI2",
            model="One",
            echo_time_s=(0.01, 0.02),
            repetition_time_s=(0.5,),
            flip_angle_rad=(np.pi / 2,),
        ),
    )
    return file, kspace, mask


def read_all(file: Path) -> list[ismrmrd.Acquisition]:
    with ismrmrd.Dataset(file, mode="r") as dataset:
        return [dataset.read_acquisition(i) for i in range(dataset.number_of_acquisitions())]


def test_xml_header_is_valid_and_complete(written: tuple[Path, np.ndarray, np.ndarray]) -> None:
    with ismrmrd.Dataset(written[0], mode="r") as dataset:
        xml = dataset.read_xml_header()
    assert b'xmlns="http://www.ismrm.org/ISMRMRD"' in xml
    header = ismrmrd.xsd.CreateFromDocument(xml)
    (encoding,) = header.encoding
    assert header.experimentalConditions.H1resonanceFrequency_Hz == round(42.577478518e6 * 0.055)
    system = header.acquisitionSystemInformation
    assert (system.systemFieldStrength_T, system.receiverChannels) == (0.055, 2)
    assert (system.systemVendor, system.systemModel) == ("OSI2", "One")
    assert len(system.coilLabel) == 2
    assert header.measurementInformation.patientPosition == ismrmrd.xsd.patientPositionType.HFS
    assert header.sequenceParameters.TE == [10, 20]
    assert header.sequenceParameters.TR == [500]
    assert header.sequenceParameters.flipAngle_deg == [90]
    for space in (encoding.encodedSpace, encoding.reconSpace):
        size, fov = space.matrixSize, space.fieldOfView_mm
        assert (size.x, size.y, size.z) == (12, 9, 1)
        assert (fov.x, fov.y, fov.z) == (240, 90, 5)
    limits = encoding.encodingLimits
    step = limits.kspace_encoding_step_1
    assert (step.minimum, step.maximum, step.center) == (0, 8, 4)
    assert limits.kspace_encoding_step_0.center == 6
    assert (limits.slice.maximum, limits.contrast.maximum, limits.repetition.maximum) == (3, 1, 2)
    assert encoding.trajectory == ismrmrd.xsd.trajectoryType.CARTESIAN


def test_samples_counters_and_places(written: tuple[Path, np.ndarray, np.ndarray]) -> None:
    file, kspace, mask = written
    readouts = read_all(file)
    assert len(readouts) == int(mask.sum())
    for i, readout in enumerate(readouts):
        index = readout.idx
        c, r, s, row = (index.contrast, index.repetition, index.slice, index.kspace_encode_step_1)
        assert mask[c, r, s, 0, 0, row, 0]
        np.testing.assert_array_equal(readout.data, kspace[c, r, s, :, 0, row])
        assert readout.scan_counter == i
        assert (readout.center_sample, readout.trajectory_dimensions) == (6, 0)
        assert readout.active_channels == 2
        assert readout.channel_mask[0] == 0b11
        assert readout.sample_time_us == pytest.approx(8)
        np.testing.assert_allclose(
            list(readout.position), [10 + 7 * (s - 2), 20, 30], rtol=1e-6, atol=1e-5
        )
        assert tuple(readout.read_dir) == GEOMETRY.x_direction
        assert tuple(readout.phase_dir) == GEOMETRY.y_direction
        assert tuple(readout.slice_dir) == GEOMETRY.z_direction


def test_flags(written: tuple[Path, np.ndarray, np.ndarray]) -> None:
    readouts = read_all(written[0])
    count = {
        name: sum(r.is_flag_set(getattr(ismrmrd, name)) for r in readouts)
        for name in (
            "ACQ_FIRST_IN_SLICE",
            "ACQ_LAST_IN_SLICE",
            "ACQ_FIRST_IN_REPETITION",
            "ACQ_LAST_IN_REPETITION",
            "ACQ_LAST_IN_MEASUREMENT",
        )
    }
    assert list(count.values()) == [24, 24, 6, 6, 1]
    assert readouts[0].is_flag_set(ismrmrd.ACQ_FIRST_IN_SLICE)
    assert readouts[-1].is_flag_set(ismrmrd.ACQ_LAST_IN_MEASUREMENT)


def test_our_reader_gives_it_back(written: tuple[Path, np.ndarray, np.ndarray]) -> None:
    file, kspace, mask = written
    scan = load_scan(file)
    assert scan.volume_shape == (6, 4)
    assert scan.header.field_strength_t == pytest.approx(0.055)
    assert scan.repairs == ()
    for i, image in enumerate(scan.images):
        raw = scan.kspace(i)
        where = (image.contrast, image.repetition, image.slice)
        expected = kspace[where] * mask[where]
        np.testing.assert_array_equal(raw.data[0].numpy(), expected)
        assert raw.mask is not None
        np.testing.assert_array_equal(raw.mask[0].numpy(), mask[where])
        assert raw.geometry is not None
        np.testing.assert_allclose(raw.geometry.voxel_size_m, GEOMETRY.voxel_size_m, rtol=1e-6)
        np.testing.assert_allclose(raw.geometry.z_direction, GEOMETRY.z_direction)


@pytest.mark.parametrize("size", [8, 9])
def test_mrpro_reads_the_same_samples(tmp_path: Path, size: int) -> None:
    kspace = random_kspace((1, 2, 3, 4, 5, size, 12))
    file = tmp_path / "scan.h5"
    write_ismrmrd_kspace(file, kspace, fov_m=(0.05, 0.2, 0.24), field_strength_t=0.3)
    with pytest.warns(UserWarning, match="No vendor information"):
        data = KData.from_file(file, KTrajectoryCartesian())
    assert data.data.shape == (6, 4, 5, size, 12)
    np.testing.assert_array_equal(data.data.numpy().reshape(2, 3, 4, 5, size, 12), kspace[0])
    ky = data.traj.ky.flatten().unique()
    np.testing.assert_array_equal(ky.numpy(), np.arange(size) - size // 2)
    assert data.header.encoding_fov.x == pytest.approx(0.24)


def test_stored_trajectory(tmp_path: Path) -> None:
    """Spokes: fractions of the matrix in the file, the same positions back from mrpro and ours."""
    angles = np.pi * np.arange(7) / 7
    radius = np.arange(16) - 8.0
    positions = np.zeros((1, 7, 16, 3))
    positions[0, ..., 1] = np.sin(angles)[:, None] * radius
    positions[0, ..., 2] = np.cos(angles)[:, None] * radius
    kspace = random_kspace((1, 1, 1, 3, 1, 7, 16))
    file = tmp_path / "radial.h5"
    write_ismrmrd_kspace(
        file,
        kspace,
        fov_m=(5e-3, 0.2, 0.2),
        field_strength_t=0.055,
        trajectory=positions,
        trajectory_kind="radial",
    )
    readouts = read_all(file)
    assert readouts[2].traj.shape == (16, 3)
    np.testing.assert_allclose(readouts[2].traj * 16, positions[0, 2, :, ::-1], atol=1e-5)
    assert max(np.abs(readout.traj).max() for readout in readouts) <= 0.5
    with pytest.warns(UserWarning, match="No vendor information"):
        data = KData.from_file(file, KTrajectoryIsmrmrd(normalize=True))
    # mrpro scales the largest position of each axis to half the matrix
    assert float(data.traj.kx.abs().max()) == pytest.approx(8, rel=1e-3)
    raw = load_scan(file).kspace(0)
    assert raw.trajectory is not None
    np.testing.assert_allclose(raw.trajectory[0].numpy(), positions, atol=1e-5)
    np.testing.assert_array_equal(raw.data[0].numpy(), kspace[0, 0, 0])


def test_without_orientation_the_header_says_so(tmp_path: Path) -> None:
    file = tmp_path / "scan.h5"
    write_ismrmrd_kspace(file, random_kspace((1, 1, 1, 1, 1, 4, 4)), fov_m=(5e-3, 0.2, 0.2))
    with ismrmrd.Dataset(file, mode="r") as dataset:
        header = ismrmrd.xsd.CreateFromDocument(dataset.read_xml_header())
    (parameter,) = header.userParameters.userParameterString
    assert (parameter.name, parameter.value) == ("orientation", "unknown")


def test_lines_of_zeros_are_left_out(tmp_path: Path) -> None:
    kspace = random_kspace((1, 1, 1, 2, 1, 8, 4))
    kspace[..., 1::2, :] = 0
    write_ismrmrd_kspace(tmp_path / "scan.h5", kspace, fov_m=(5e-3, 0.2, 0.2))
    readouts = read_all(tmp_path / "scan.h5")
    assert [readout.idx.kspace_encode_step_1 for readout in readouts] == [0, 2, 4, 6]


def test_noise_readout(tmp_path: Path) -> None:
    noise = random_kspace((2, 100), 5)
    write_ismrmrd_kspace(
        tmp_path / "scan.h5", random_kspace((1, 1, 1, 2, 1, 4, 4)), fov_m=(1, 1, 1), noise=noise
    )
    first = read_all(tmp_path / "scan.h5")[0]
    assert first.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    np.testing.assert_array_equal(first.data, noise)
    found = load_scan(tmp_path / "scan.h5").noise
    assert found is not None
    np.testing.assert_array_equal(found.numpy(), noise)


def test_many_coils_fill_the_channel_mask(tmp_path: Path) -> None:
    file = tmp_path / "scan.h5"
    write_ismrmrd_kspace(file, random_kspace((1, 1, 1, 70, 1, 1, 4)), fov_m=(1, 1, 1))
    (readout,) = read_all(file)
    assert readout.active_channels == 70
    assert list(readout.channel_mask)[:3] == [2**64 - 1, 2**6 - 1, 0]


class CountingImages:
    """Hands out one image at a time and remembers which were asked for."""

    shape = (1, 2, 3, 1, 1, 4, 4)

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, int]] = []

    def __getitem__(self, index: tuple[int, int, int]) -> np.ndarray:
        self.asked.append(index)
        return np.ones(self.shape[3:], dtype=np.complex64)


def test_images_are_read_one_by_one(tmp_path: Path) -> None:
    images = CountingImages()
    write_ismrmrd_kspace(tmp_path / "scan.h5", images, fov_m=(1, 1, 1))
    assert images.asked == [(0, r, s) for r in range(2) for s in range(3)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kspace": np.zeros((4, 4), np.complex64)}, "expected .contrast, repetition, slice"),
        ({"kspace": np.zeros((1, 1, 1, 1, 1, 4, 0), np.complex64)}, "none of them empty"),
        ({"kspace": np.zeros((1, 1, 1, 1, 1, 4, 4), np.complex64)}, "no acquired sample"),
        ({"kspace": np.full((1, 1, 1, 1, 1, 4, 4), np.nan, np.complex64)}, "NaN or infinity"),
        ({"mask": np.ones((5, 1), bool)}, "mask: shape"),
        ({"trajectory": np.zeros((1, 3, 4, 3))}, "trajectory: shape"),
        ({"noise": np.zeros((3, 10), np.complex64)}, "noise: expected"),
        ({"kspace": np.zeros((1, 1, 1, 1, 1, 70000, 1), np.complex64)}, "counts to 65535"),
    ],
)
def test_what_cannot_be_written_leaves_nothing(tmp_path: Path, change: dict, message: str) -> None:
    settings = {"kspace": random_kspace((1, 1, 1, 1, 1, 4, 4)), "fov_m": (1, 1, 1)} | change
    with pytest.raises(DataError, match=message):
        write_ismrmrd_kspace(tmp_path / "scan.h5", **settings)
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_plain_hdf5_and_repeatable(tmp_path: Path) -> None:
    for name in ("a.h5", "b.h5"):
        write_ismrmrd_kspace(tmp_path / name, random_kspace(), fov_m=(1, 1, 1))
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    with h5py.File(tmp_path / "a.h5") as file:
        assert sorted(file["dataset"]) == ["data", "xml"]
