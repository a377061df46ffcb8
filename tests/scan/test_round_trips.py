"""Read, write, read: the same k-space bit for bit, the same mask, places, counters and noise."""

from __future__ import annotations

import dataclasses
import json
import shutil
import warnings
from pathlib import Path

import h5py
import ismrmrd
import numpy as np
import pytest
import torch
from mrpro.data import KData
from mrpro.data.traj_calculators import KTrajectoryCartesian, KTrajectoryIsmrmrd

from lowfield_recon.cli.app import main
from lowfield_recon.errors import UsageError
from lowfield_recon.problem import Geometry
from lowfield_recon.scan import ImageIndex, RawKSpace, Scan, ScanHeader, load_scan
from lowfield_recon.scan.convert import convert_to_ismrmrd
from lowfield_recon.scan.ismrmrd_scan_writer import write_ismrmrd_scan

PARAMETERS = (
    "<userParameters><userParameterLong><name>shots</name><value>4</value></userParameterLong>"
    "<userParameterDouble><name>drift</name><value>1.25</value></userParameterDouble>"
    "<userParameterString><name>coil</name><value>solenoid</value></userParameterString>"
    "</userParameters></ismrmrdHeader>"
)


def with_parameters(xml: str) -> str:
    return xml.replace("</ismrmrdHeader>", PARAMETERS).replace(
        "<TE>20</TE>", "<TE>20</TE><TI>150.5</TI>"
    )


def same(first: torch.Tensor | None, second: torch.Tensor | None) -> bool:
    if first is None or second is None:
        return first is second
    return first.shape == second.shape and torch.equal(first, second)


def assert_same(copy: Scan, scan: Scan) -> None:
    """Everything that reconstruction sees is equal, samples and masks bit for bit."""
    assert copy.repairs == ()
    averaged = [dataclasses.replace(i, average=i.average or 0) for i in scan.images]
    assert [dataclasses.replace(i, average=i.average or 0) for i in copy.images] == averaged
    assert copy.volume_shape == scan.volume_shape
    for number in range(len(scan.images)):
        a, b = copy.kspace(number), scan.kspace(number)
        for name in ("data", "mask", "calibration", "calibration_mask"):
            assert same(getattr(a, name), getattr(b, name)), name
        assert_same_geometry(a.geometry, b.geometry)
        if b.trajectory is not None:
            torch.testing.assert_close(a.trajectory, b.trajectory, rtol=0, atol=2e-6)
    assert same(copy.noise, scan.noise)
    assert copy.noise_scale == pytest.approx(scan.noise_scale, rel=1e-6)
    assert_same_header(copy, scan)


def assert_same_geometry(a, b) -> None:
    assert (a is None) == (b is None)
    if b is None:
        return
    assert a.is_known == b.is_known
    np.testing.assert_allclose(a.voxel_size_m, b.voxel_size_m, rtol=1e-6)
    if b.is_known:
        np.testing.assert_allclose(a.position_m, b.position_m, rtol=1e-6, atol=1e-9)
    for name in ("x_direction", "y_direction", "z_direction"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=1e-7)


def assert_same_header(copy: Scan, scan: Scan) -> None:
    a, b = copy.header, scan.header
    for name in (
        *("encoded_matrix", "recon_matrix", "trajectory", "n_coils", "vendor", "model", "protocol"),
        *("user_parameters", "relative_noise_bandwidth", "dwell_time_s"),
    ):
        assert getattr(a, name) == getattr(b, name), name
    for name in (
        *("encoded_fov_m", "recon_fov_m", "field_strength_t", "echo_time_s"),
        *("repetition_time_s", "inversion_time_s", "flip_angle_rad"),
    ):
        expected = getattr(b, name)
        assert getattr(a, name) == (expected and pytest.approx(expected, rel=1e-9)), name
    if b.larmor_frequency_hz is not None:
        assert a.larmor_frequency_hz == pytest.approx(b.larmor_frequency_hz, abs=1)
    has_moved = "k-space-centre" in [repair.code for repair in scan.repairs]
    for name, limit in () if has_moved else b.limits.items():
        if b.trajectory == "cartesian" and limit != (0, 0, 0):
            assert a.limits[name] == limit, name


CASES = {
    "slices": {"slices": 4, "coils": 3, "slice_order": [0, 2, 1, 3], "oversampling": 2},
    "volume": {"matrix": (5, 9, 12), "coils": 2},
    "volume with oversampling": {"matrix": (4, 10, 12), "oversampling": 2},
    "partial Fourier": {"matrix": (1, 20, 12), "first_row": 6, "n_rows": 12},
    "partial Fourier of a volume": {"matrix": (4, 20, 12), "first_row": 6},
    "undersampled with calibration": {
        **{"matrix": (1, 24, 16), "coils": 2, "calibration": range(8, 16)},
        "keep": lambda row, _: row % 3 == 0,
    },
    "undersampled volume": {"matrix": (4, 12, 16), "keep": lambda row, part: (row + part) % 2 == 0},
    "asymmetric echo": {"matrix": (1, 8, 16), "readout": (4, 15)},
    "asymmetric echo, one sample short": {"matrix": (1, 8, 256), "readout": (1, 255)},
    "asymmetric echo, bipolar": {"matrix": (1, 8, 16), "readout": (4, 15), "is_reversed": True},
    "half of the echo": {"matrix": (1, 8, 16), "readout": (7, 15)},
    "reversed with discarded samples": {"is_reversed": True, "discard": (3, 2), "coils": 2},
    "noise": {"noise_lines": 4, "coils": 3, "noise_dwell_us": 7.7},
    "Siemens": {"vendor": "SIEMENS", "coils": 2, "noise_lines": 3, "oversampling": 2},
    "all counters": {"contrasts": 2, "repetitions": 2, "phases": 2, "sets": 3, "slices": 2},
    "averages": {"averages": 3},
    "averages apart": {"averages": 2, "average_phases": (1, -1)},
    "counters from one": {"counter_start": 1},
    "no centre": {"center": 0},
    "no directions": {"directions": np.zeros((3, 3)), "slices": 2},
    "left-handed and oblique": {
        "directions": np.array([[0, 0.6, 0.8], [1, 0, 0], [0, 0.8, -0.6]]),
        "slices": 3,
        "slice_order": [2, 0, 1],
    },
    "odd sizes": {"matrix": (3, 7, 9), "oversampling": 2},
    "navigators": {"extra_flags": (23, 24, 26, 27, 29), "slices": 2},
}


@pytest.mark.parametrize("name", CASES)
def test_ismrmrd_on_a_grid(build_scan, tmp_path: Path, name: str) -> None:
    built = build_scan(mend=with_parameters, **CASES[name])
    scan = load_scan(built.path)
    write_ismrmrd_scan(tmp_path / "copy.h5", scan)
    copy = load_scan(tmp_path / "copy.h5", strict=True)
    assert_same(copy, scan)
    assert copy.header.user_parameters == {"shots": 4, "drift": 1.25, "coil": "solenoid"}
    assert copy.header.inversion_time_s == (0.1505,)
    write_ismrmrd_scan(tmp_path / "again.h5", copy)
    assert (tmp_path / "again.h5").read_bytes() == (tmp_path / "copy.h5").read_bytes()


@pytest.mark.parametrize("vendor", ["OSI2", "Siemens"])
def test_samples_in_the_file_are_those_that_were_measured(build_scan, tmp_path, vendor) -> None:
    """Reversed or not, conjugated or not: each readout in the copy is the line of the original."""
    built = build_scan(coils=2, is_reversed=True, vendor=vendor)
    write_ismrmrd_scan(tmp_path / "copy.h5", load_scan(built.path))
    with (
        ismrmrd.Dataset(built.path, mode="r") as a,
        ismrmrd.Dataset(tmp_path / "copy.h5", mode="r") as b,
    ):
        assert a.number_of_acquisitions() == b.number_of_acquisitions() == 12
        for i in range(12):
            old, new = a.read_acquisition(i), b.read_acquisition(i)
            line = old.data[:, ::-1] if old.is_flag_set(ismrmrd.ACQ_IS_REVERSE) else old.data
            np.testing.assert_array_equal(new.data, line)
            assert not new.is_flag_set(ismrmrd.ACQ_IS_REVERSE)
            assert new.idx.kspace_encode_step_1 == old.idx.kspace_encode_step_1
            assert (new.center_sample, new.sample_time_us) == (8, 5)
            assert list(new.position) == list(old.position)
            assert list(new.slice_dir) == list(old.slice_dir)
        assert b.read_acquisition(11).is_flag_set(ismrmrd.ACQ_LAST_IN_MEASUREMENT)


def test_calibration_lines_with_samples_of_their_own(build_scan, tmp_path: Path) -> None:
    """Both repetitions use the first one's calibration; in the second its lines differ."""
    built = build_scan(repetitions=2, keep=lambda row, _: row % 2 == 0, calibration=range(4, 9))
    with h5py.File(built.path, "a") as file:
        rows = file["dataset/data"][...]
        is_second = rows["head"]["idx"]["repetition"] == 1
        is_only = (rows["head"]["flags"] & np.uint64(1 << 19)) > 0
        rows["head"]["flags"][is_second] &= ~np.uint64(1 << 20)
        kind, kept = file["dataset/data"].dtype, rows[~(is_second & is_only)]
        del file["dataset/data"]
        file["dataset"].create_dataset("data", data=kept, dtype=kind)
    scan = load_scan(built.path)
    raw = scan.kspace(1)
    assert not torch.equal(raw.calibration[..., 4, :], raw.data[..., 4, :])
    write_ismrmrd_scan(tmp_path / "copy.h5", scan)
    assert_same(load_scan(tmp_path / "copy.h5", strict=True), scan)


@pytest.mark.parametrize("columns", [slice(6, None), slice(7, None), slice(0, 6), slice(2, 9)])
def test_readouts_that_begin_or_end_at_the_centre(tmp_path: Path, columns: slice) -> None:
    """A centre sample of 0 counts as not filled in, so the copy may not use it."""
    array = np.zeros((8, 12), np.complex64)
    array[:, columns] = random_complex((8, 12))[:, columns]
    np.save(tmp_path / "k.npy", array)
    scan = load_scan(tmp_path / "k.npy", axes="y x")
    write_ismrmrd_scan(tmp_path / "copy.h5", scan)
    a, b = load_scan(tmp_path / "copy.h5", strict=True).kspace(0), scan.kspace(0)
    assert same(a.data, b.data)
    assert same(a.mask, b.mask)


RADIAL = (
    (np.arange(24) - 12)[None, :, None]
    / 24
    * np.stack([np.cos(np.pi * np.arange(9) / 9), np.sin(np.pi * np.arange(9) / 9)], axis=-1)[
        :, None
    ]
)


@pytest.mark.parametrize("scale", [1.0, 12.0], ids=["fractions", "cycles per field of view"])
@pytest.mark.parametrize("vendor", ["OSI2", "Siemens"])
def test_radial(build_scan, tmp_path: Path, scale: float, vendor: str) -> None:
    built = build_scan(
        matrix=(1, 12, 12), positions=RADIAL * scale, trajectory="radial", coils=2, vendor=vendor
    )
    scan = load_scan(built.path)
    write_ismrmrd_scan(tmp_path / "copy.h5", scan)
    assert_same(load_scan(tmp_path / "copy.h5", strict=True), scan)


def random_complex(shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)


@pytest.mark.parametrize(
    ("shape", "axes", "options"),
    [
        ((12, 10), "y x", {}),
        ((3, 12, 10, 2), "coil y x slice", {"fov_m": (5e-3, 0.2, 0.24), "field_strength_t": 0.055}),
        ((5, 8, 9), "z y x", {"fov_m": (0.1, 0.2, 0.24)}),
        ((2, 3, 8, 9), "repetition contrast y x", {"fov_m": (5e-3, 0.2, 0.24)}),
        ((4, 8, 10), "coil y x", {"image_space": True, "fov_m": (5e-3, 0.2, 0.24)}),
    ],
)
@pytest.mark.parametrize("is_undersampled", [False, True])
def test_raw_arrays(tmp_path, shape, axes, options, is_undersampled) -> None:
    array = random_complex(shape)
    if is_undersampled:
        lines = np.moveaxis(array, axes.split().index("y"), 0)
        lines[1::3] = 0
        lines[:2] = 0
    np.save(tmp_path / "k.npy", array)
    scan = load_scan(tmp_path / "k.npy", axes=axes, **options)
    write_ismrmrd_scan(tmp_path / "copy.h5", scan)
    copy = load_scan(tmp_path / "copy.h5", strict=True)
    for number in range(len(scan.images)):
        a, b = copy.kspace(number), scan.kspace(number)
        assert same(a.data, b.data)
        assert same(a.mask, b.mask)
        assert_same_geometry(a.geometry, b.geometry)
    assert copy.header.field_strength_t == options.get("field_strength_t")
    assert [dataclasses.astuple(i)[:3] for i in copy.images] == [
        dataclasses.astuple(i)[:3] for i in scan.images
    ]


def write_fastmri(path: Path, system: str) -> np.ndarray:
    """A file of the fastMRI layout: partial Fourier, oversampled, readout along the rows."""
    spaces = "".join(
        f"<{name}><matrixSize><x>{x}</x><y>17</y><z>1</z></matrixSize><fieldOfView_mm>"
        f"<x>{10 * x}</x><y>170</y><z>5</z></fieldOfView_mm></{name}>"
        for name, x in (("encodedSpace", 32), ("reconSpace", 16))
    )
    header = (
        '<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><measurementInformation>'
        "<patientPosition>HFS</patientPosition></measurementInformation>"
        f"<acquisitionSystemInformation>{system}</acquisitionSystemInformation>"
        "<experimentalConditions><H1resonanceFrequency_Hz>123201493</H1resonanceFrequency_Hz>"
        f"</experimentalConditions><encoding>{spaces}<encodingLimits><kspace_encoding_step_1>"
        "<minimum>0</minimum><maximum>12</maximum><center>4</center></kspace_encoding_step_1>"
        "</encodingLimits><trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"
    )
    kspace = random_complex((3, 4, 32, 17))
    kspace[..., :4] = 0
    with h5py.File(path, "w") as file:
        file["kspace"], file["ismrmrd_header"] = kspace, header.encode()
        file.attrs["acquisition"] = "CORPD_FBK"
    return kspace


@pytest.mark.parametrize("vendor", ["", "<systemVendor>SIEMENS</systemVendor>"])
def test_fastmri(tmp_path: Path, vendor: str) -> None:
    """The format stores no conjugate whatever the vendor; the copy reads back as it was."""
    kspace = write_fastmri(tmp_path / "knee.h5", vendor)
    scan = load_scan(tmp_path / "knee.h5")
    write_ismrmrd_scan(tmp_path / "copy.h5", scan)
    copy = load_scan(tmp_path / "copy.h5", strict=True)
    assert len(copy.images) == 3
    for number in range(3):
        a, b = copy.kspace(number), scan.kspace(number)
        np.testing.assert_array_equal(a.data[0, :, 0].numpy(), kspace[number].swapaxes(-1, -2))
        assert same(a.data, b.data)
        assert same(a.mask, b.mask)
        assert_same_geometry(a.geometry, b.geometry)
    assert copy.header.limits["kspace_encoding_step_1"] == (0, 12, 4)
    found, expected = (s.problems(coil_maps="walsh")[1] for s in (copy, scan))
    assert torch.equal(found.data, expected.data)
    assert found.shape == expected.shape


@dataclasses.dataclass
class GappedSource:
    """Slices of unknown place with a known gap, as M4Raw has them."""

    geometry: Geometry

    def read(self, index: int) -> RawKSpace:
        data = torch.from_numpy(random_complex((1, 1, 1, 6, 8))) + index
        return RawKSpace(data=data, mask=torch.ones(1, 1, 1, 6, 1).bool(), geometry=self.geometry)

    def sampling_fraction(self) -> float:
        return 1.0


def test_a_gap_between_slices_of_unknown_place_is_kept(tmp_path: Path) -> None:
    geometry = Geometry(voxel_size_m=(6e-3, 1e-3, 1e-3), is_known=False)
    size = (1, 6, 8)
    scan = Scan(
        path=tmp_path / "s.h5",
        format="m4raw",
        header=ScanHeader(
            encoded_matrix=size,
            recon_matrix=size,
            encoded_fov_m=(5e-3, 6e-3, 8e-3),
            recon_fov_m=(5e-3, 6e-3, 8e-3),
        ),
        images=tuple(ImageIndex(slice=i) for i in range(4)),
        source=GappedSource(geometry),
        n_slices=4,
    )
    write_ismrmrd_scan(tmp_path / "copy.h5", scan)
    copy = load_scan(tmp_path / "copy.h5", strict=True)
    for number in range(4):
        found = copy.kspace(number)
        assert torch.equal(found.data, scan.kspace(number).data)
        assert not found.geometry.is_known
        assert found.geometry.voxel_size_m == pytest.approx((6e-3, 1e-3, 1e-3))


def quiet_kdata(path: Path, trajectory) -> KData:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mrpro warns about vendors whose clock it does not know
        return KData.from_file(path, trajectory)


@pytest.mark.parametrize(
    "name", ["slices", "volume", "partial Fourier", "Siemens", "all counters", "averages"]
)
def test_mrpro_reads_the_copy_as_the_original(build_scan, tmp_path: Path, name: str) -> None:
    built = build_scan(**CASES[name])
    write_ismrmrd_scan(tmp_path / "copy.h5", load_scan(built.path))
    copy = quiet_kdata(tmp_path / "copy.h5", KTrajectoryCartesian())
    if name == "averages":  # mrpro keeps them apart, the copy holds their mean
        scan = load_scan(built.path)
        np.testing.assert_array_equal(
            copy.data.numpy()[0, :, 0], scan.kspace(0).data.numpy()[0, :, 0]
        )
        return
    original = quiet_kdata(built.path, KTrajectoryCartesian())
    assert torch.equal(copy.data, original.data)
    for axis in ("kz", "ky", "kx"):
        assert torch.equal(getattr(copy.traj, axis), getattr(original.traj, axis)), axis
    for counter in ("k1", "k2", "slice", "contrast", "repetition", "phase", "set"):
        found = getattr(copy.header.acq_info.idx, counter)
        assert torch.equal(found, getattr(original.header.acq_info.idx, counter)), counter
    for axis in "xyz":
        found, expected = (
            getattr(k.header.acq_info.position, axis).float() for k in (copy, original)
        )
        torch.testing.assert_close(found, expected)
        assert getattr(copy.header.encoding_fov, axis) == pytest.approx(
            getattr(original.header.encoding_fov, axis)
        )
    assert copy.header.encoding_matrix == original.header.encoding_matrix
    torch.testing.assert_close(
        copy.header.acq_info.orientation.as_matrix(),
        original.header.acq_info.orientation.as_matrix(),
    )


def test_mrpro_reads_the_radial_copy_as_the_original(build_scan, tmp_path: Path) -> None:
    built = build_scan(matrix=(1, 12, 12), positions=RADIAL, trajectory="radial", coils=2)
    write_ismrmrd_scan(tmp_path / "copy.h5", load_scan(built.path))
    original, copy = (
        quiet_kdata(path, KTrajectoryIsmrmrd(normalize=True))
        for path in (built.path, tmp_path / "copy.h5")
    )
    assert torch.equal(copy.data, original.data)
    torch.testing.assert_close(copy.traj.kx, original.traj.kx)
    torch.testing.assert_close(copy.traj.ky, original.traj.ky)


def test_convert_mends_a_defective_file(build_scan, tmp_path: Path, capsys) -> None:
    def defect(xml: str) -> str:
        return (
            xml.replace("<patientPosition>HFS</patientPosition>", "")
            .replace("<x>16</x>", "<x>16.0</x>")
            .replace("2001141", "2.001141")
        )

    built = build_scan(slices=2, counter_start=1, extra_flags=(23,), mend=defect)
    out = tmp_path / "mended.h5"
    assert main(["convert", str(built.path), str(out)]) == 0
    shown = capsys.readouterr().out
    codes = ("patient-position-missing", "integer-as-float", "frequency-in-mhz", "k-space-centre")
    assert all(f"note: {code}: " in shown for code in codes)
    assert "not in the copy: 1 navigator" in shown
    record = json.loads((tmp_path / "mended.h5.json").read_text())
    assert set(codes) <= {repair["code"] for repair in record["repairs"]}
    assert len(record["inputs"]["scan"]["sha256"]) == 64
    scan, copy = load_scan(built.path), load_scan(out, strict=True)
    for number in range(2):
        assert same(copy.kspace(number).data, scan.kspace(number).data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        header = ismrmrd.xsd.CreateFromDocument(ismrmrd.Dataset(out, mode="r").read_xml_header())
    assert header.experimentalConditions.H1resonanceFrequency_Hz == 2001141


def test_convert_refuses_to_write_over_what_it_reads(build_scan) -> None:
    built = build_scan()
    before = built.path.read_bytes()
    with pytest.raises(UsageError, match="is the file that is read"):
        convert_to_ismrmrd(built.path, built.path)
    assert built.path.read_bytes() == before


def test_a_key_chooses_the_data_set_to_convert(build_scan, tmp_path: Path) -> None:
    first, second = build_scan("one.h5", seed=1), build_scan("two.h5", seed=2, group="dataset_2")
    both = tmp_path / "both.h5"
    shutil.copy(first.path, both)
    with h5py.File(both, "a") as out, h5py.File(second.path) as source:
        source.copy("dataset_2", out)
    convert_to_ismrmrd(both, tmp_path / "copy.h5", key="dataset")
    assert same(
        load_scan(tmp_path / "copy.h5").kspace(0).data, load_scan(first.path).kspace(0).data
    )


def test_an_interrupted_copy_leaves_nothing(build_scan, tmp_path: Path) -> None:
    """Reading fails at the second image: no file, and an older one stays as it was."""
    built = build_scan(slices=2)
    with h5py.File(built.path, "a") as file:
        record = file["dataset/data"][15]
        record["data"][4] = np.nan
        file["dataset/data"][15] = record
    target = tmp_path / "out" / "copy.h5"
    target.parent.mkdir()
    target.write_bytes(b"older")
    with pytest.raises(Exception, match="NaN or infinite"):
        write_ismrmrd_scan(target, load_scan(built.path))
    assert target.read_bytes() == b"older"
    assert len(list(target.parent.iterdir())) == 1


@pytest.mark.shared_data
def test_real_siemens_scan(shared_data: Path, tmp_path: Path) -> None:
    (path,) = (shared_data / "gadgetron_onlineclass_snr_r3").glob("*.h5")
    scan = load_scan(path)
    write_ismrmrd_scan(tmp_path / "copy.h5", scan)
    copy = load_scan(tmp_path / "copy.h5", strict=True)
    assert_same(copy, scan)
    assert copy.header.limits["kspace_encoding_step_1"] == (0, 105, 54)
    assert len(scan.header.user_parameters) > 0
    original, again = (quiet_kdata(p, KTrajectoryCartesian()) for p in (path, tmp_path / "copy.h5"))
    assert torch.equal(original.data, again.data)


@pytest.mark.shared_data
def test_real_radial_array(shared_data: Path, tmp_path: Path) -> None:
    file = shared_data / "gpunufft_demo" / "radial_cardiac_25_projections.mat"
    scan = load_scan(file, axes="x y coil", key="rawdata", trajectory_key="k")
    write_ismrmrd_scan(tmp_path / "copy.h5", scan)
    a, b = load_scan(tmp_path / "copy.h5", strict=True).kspace(0), scan.kspace(0)
    assert same(a.data, b.data)
    torch.testing.assert_close(a.trajectory, b.trajectory, rtol=0, atol=1e-5)
