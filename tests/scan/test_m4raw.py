"""M4Raw files: axes by the zero-filled lines, a header by name, the slice gap, repetitions."""

from __future__ import annotations

import json
from pathlib import Path

import fastmri
import h5py
import numpy as np
import pytest
from fastmri.data.transforms import to_tensor

from lowfield_recon.cli.app import main
from lowfield_recon.errors import DataError
from lowfield_recon.scan import detect_format, load_scan
from lowfield_recon.scan.fastmri_targets import root_sum_of_squares_target

NAMESPACE = 'xmlns="http://www.ismrm.org/ISMRMRD"'


def published_target(kspace: np.ndarray) -> np.ndarray:
    """RSS of one slice by the `fastmri` package, which the data set uses."""
    return fastmri.rss(fastmri.complex_abs(fastmri.ifft2c(to_tensor(kspace)))).numpy()


def m4raw_header(n_slices: int = 3, n: int = 32, extra: str = "") -> str:
    """The defects that `scanner_io.md` lists for the data set's header."""
    space = (
        f"<matrixSize><x>{n}</x><y>{n}</y><z>1</z></matrixSize>"
        "<fieldOfView_mm><x>240</x><y>240</y><z>5</z></fieldOfView_mm>"
    )
    return (
        f"<ismrmrdHeader {NAMESPACE}><studyInformation><studyUID>1.2.3</studyUID>"
        "<studyTime>101500</studyTime></studyInformation>"
        "<measurementInformation><measurementID>7</measurementID>"
        "<protocolName>T2</protocolName></measurementInformation>"
        "<acquisitionSystemInformation><systemVendor>XGY</systemVendor>"
        "<systemModel>OPER-0.3</systemModel><samplingBandwidth>31.25KHz</samplingBandwidth>"
        "</acquisitionSystemInformation><encoding>"
        f"<encodedSpace>{space}</encodedSpace><reconSpace>{space}</reconSpace>"
        "<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>23</maximum>"
        "<center>12</center></kspace_encoding_step_1><slice><minimum>0</minimum>"
        f"<maximum>{n_slices}</maximum><center>0</center></slice></encodingLimits>"
        f"<trajectory>cartesian</trajectory></encoding><sequenceParameters><TR>5500</TR>"
        "<TE>128.0ms</TE><TI>N/A</TI><echo_spacing>16.0ms</echo_spacing>"
        "<echo_train_length>16</echo_train_length><flipAngle_deg>90</flipAngle_deg>"
        f"</sequenceParameters>{extra}</ismrmrdHeader>"
    )


def build_m4raw(
    path: Path,
    *,
    is_phase_last: bool = True,
    first: int = 4,
    last: int = 27,
    header: str | None = None,
    slices: int = 3,
    n: int = 32,
) -> np.ndarray:
    """Write a file; returns k-space as stored, `(slices, coils, rows, columns)`."""
    rng, shape = np.random.default_rng(1), (slices, 4, n, n)
    kspace = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    kspace[..., :first] = 0
    kspace[..., last + 1 :] = 0
    if not is_phase_last:
        kspace = kspace.swapaxes(-1, -2)
    with h5py.File(path, "w") as file:
        file["kspace"] = kspace
        file["reconstruction_rss"] = np.stack([published_target(k) for k in kspace])
        file["ismrmrd_header"] = header or m4raw_header(slices, n)
        file.attrs.update({"acquisition": "AXT2", "max": 12.5, "patient_id": "secret"})
    return kspace


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "2022061003_T201.h5"
    build_m4raw(path)
    return path


def codes(scan):
    return [repair.code for repair in scan.repairs]


def rows_of(scan, index=0):
    return scan.kspace(index).mask.flatten().nonzero().flatten().tolist()


def test_header_is_read_by_name(file):
    assert detect_format(file) == "m4raw"
    scan = load_scan(file)
    header = scan.header
    assert (scan.format, scan.volume_shape, header.n_coils) == ("m4raw", (1, 3), 4)
    assert header.encoded_matrix == header.recon_matrix == (1, 32, 32)
    assert header.field_strength_t == pytest.approx(0.3)
    assert header.larmor_frequency_hz == pytest.approx(0.3 * 42.577478518e6, rel=1e-6)
    assert header.repetition_time_s == pytest.approx((5.5,))
    assert header.echo_time_s == pytest.approx((0.128,))
    assert header.inversion_time_s is None
    assert header.flip_angle_rad == pytest.approx((np.pi / 2,))
    assert header.dwell_time_s == pytest.approx(32e-6)
    assert (header.vendor, header.model, header.protocol) == ("XGY", "OPER-0.3", "T2")
    assert header.limits["slice"] == (0, 2, 0)


def test_every_repair_is_named(file):
    scan = load_scan(file)
    assert set(codes(scan)) >= {
        "unit-in-value",
        "value-not-applicable",
        "unknown-elements",
        "field-strength-of-data-set",
        "frequency-missing",
        "slice-maximum",
    }
    changes = {(r.old, r.new) for r in scan.repairs if r.code == "unit-in-value"}
    assert changes == {("31.25KHz", "31250"), ("128.0ms", "128"), ("16.0ms", "16")}
    (unknown,) = [r for r in scan.repairs if r.code == "unknown-elements"]
    assert "studyUID" in unknown.message
    assert "samplingBandwidth" in unknown.message


def test_echo_spacing_that_is_not_applicable(tmp_path):
    path = tmp_path / "a.h5"
    build_m4raw(path, header=m4raw_header().replace("16.0ms", "N/A"))
    scan = load_scan(path)
    repairs = [r for r in scan.repairs if r.code == "value-not-applicable"]
    assert {r.message for r in repairs} == {
        "<echo_spacing> says it has no value.",
        "<TI> says it has no value.",
    }


@pytest.mark.parametrize("is_phase_last", [True, False])
def test_zero_filled_lines_decide_the_axes(tmp_path, is_phase_last):
    path = tmp_path / "a.h5"
    stored = build_m4raw(path, is_phase_last=is_phase_last)
    scan = load_scan(path)
    ordered = stored.swapaxes(-1, -2) if is_phase_last else stored
    for index in range(3):
        raw = scan.kspace(index)
        np.testing.assert_array_equal(raw.data[0, :, 0].numpy(), ordered[index])
        assert rows_of(scan, index) == list(range(4, 28))
        target = scan.target(index)
        computed = root_sum_of_squares_target(scan, index)
        assert float((computed - target).abs().max() / target.abs().max()) < 1e-6
    axis = "last axis" if is_phase_last else "last axis but one"
    assert any(f"The {axis} is the phase encoding: 8 lines" in n for n in scan.assumptions)


def test_axes_without_zero_filled_lines(tmp_path):
    path = tmp_path / "a.h5"
    stored = build_m4raw(path, first=0, last=31)
    scan = load_scan(path)
    np.testing.assert_array_equal(scan.kspace(0).data[0, :, 0].numpy(), stored[0].swapaxes(-1, -2))
    assert any("do not tell which axis" in note for note in scan.assumptions)


def test_data_count_where_the_limits_are_off_by_one(tmp_path):
    path = tmp_path / "a.h5"
    build_m4raw(path, first=3, last=25)
    scan = load_scan(path)
    (repair,) = [r for r in scan.repairs if r.code == "zero-padding"]
    assert (repair.old, repair.new) == ("4 to 27", "3 to 25")
    assert rows_of(scan) == list(range(3, 26))


def test_limits_that_agree_need_no_repair(file):
    assert "zero-padding" not in codes(load_scan(file))


def test_centre_is_not_shifted(tmp_path):
    path = tmp_path / "a.h5"
    build_m4raw(path)
    with h5py.File(path, "r+") as hdf5:
        kspace = hdf5["kspace"][()]
        kspace[..., 20, 16] = 1000
        hdf5["kspace"][...] = kspace
    data = load_scan(path).kspace(0).data[0, 0, 0].abs()
    assert divmod(int(data.argmax()), 32) == (16, 20)  # phase encoding, readout


@pytest.mark.parametrize(
    ("extra", "spacing"),
    [
        ("", 6e-3),
        ("<slice_spacing>5.5mm</slice_spacing>", 5.5e-3),
        ("<SpacingBetweenSlices_mm>7</SpacingBetweenSlices_mm>", 7e-3),
    ],
)
def test_spacing_includes_the_gap(tmp_path, extra, spacing):
    path = tmp_path / "a.h5"
    build_m4raw(path, header=m4raw_header(extra=extra))
    scan = load_scan(path)
    geometry = scan.kspace(0).geometry
    assert geometry.voxel_size_m == pytest.approx((spacing, 7.5e-3, 7.5e-3))
    assert not geometry.is_known
    assert scan.header.encoded_fov_m[0] == pytest.approx(5e-3)
    assert any("6 mm apart" in note for note in scan.assumptions) == (not extra)


def test_other_thickness_has_no_assumed_gap(tmp_path):
    path = tmp_path / "a.h5"
    build_m4raw(path, header=m4raw_header().replace("<z>5</z>", "<z>4</z>"))
    assert load_scan(path).kspace(0).geometry.voxel_size_m[0] == pytest.approx(4e-3)


@pytest.mark.parametrize(
    "extra",
    [
        "<off_center_correction><x>0</x><y>-0.9375</y><z>0</z></off_center_correction>",
        "<offCenter_y>-0.9375</offCenter_y>",
        "<offcentre_mm>0 -0.9375 0</offcentre_mm>",
    ],
)
def test_off_centre_correction_is_in_the_position(tmp_path, extra):
    path, plain = tmp_path / "a.h5", tmp_path / "b.h5"
    build_m4raw(path, header=m4raw_header(extra=extra))
    build_m4raw(plain)
    scan = load_scan(path)
    assert scan.kspace(0).geometry.position_m == pytest.approx((0, -0.9375e-3, 0))
    assert scan.kspace(0).data.equal(load_scan(plain).kspace(0).data)
    assert any("off-centre correction, 0, -0.9375, 0 mm" in n for n in scan.assumptions)


def test_repetitions_are_named(tmp_path):
    names = ["2022061003_T201.h5", "2022061003_T202.h5", "2022061003_T203.h5"]
    for name in [*names, "2022061003_T101.h5", "2022061004_T201.h5"]:
        build_m4raw(tmp_path / name)
    scan = load_scan(tmp_path / names[1])
    sentence = f"Files {', '.join(names)} are repetitions of the same scan"
    assert any(note.startswith(sentence) for note in scan.assumptions)
    other = load_scan(tmp_path / "2022061004_T201.h5")
    assert not any("repetitions" in note for note in other.assumptions)


def test_header_that_is_no_xml(tmp_path):
    path = tmp_path / "a.h5"
    build_m4raw(path, header="<samplingBandwidth>31.25KHz")
    scan = load_scan(path)
    assert codes(scan) == ["header-unreadable"]
    assert rows_of(scan) == list(range(4, 28))
    assert scan.kspace(0).geometry is None


def test_commands(file, capsys):
    assert main(["info", str(file), "--json"]) == 0
    text = capsys.readouterr().out
    described = json.loads(text)
    assert (described["format"], described["field_strength_t"]) == ("m4raw", 0.3)
    assert described["sampling_fraction"] == pytest.approx(24 / 32)
    assert "secret" not in text
    assert main(["info", str(file)]) == 0
    assert "unit-in-value: <TE> carries its unit" in capsys.readouterr().out
    out = file.with_name("image.nii.gz")
    assert main(["reconstruct", str(file), "-o", str(out), "--method", "adjoint"]) == 0
    import nibabel

    image = nibabel.load(out)
    assert image.shape == (32, 32, 3)
    assert image.header.get_zooms() == pytest.approx((7.5, 7.5, 6.0))


def test_samples_that_are_no_numbers(file):
    with h5py.File(file, "r+") as hdf5:
        hdf5["kspace"][1, 0, 3, 4] = np.nan
        hdf5["kspace"][1, 0, 3, 0] = np.inf
    scan = load_scan(file)
    with pytest.raises(DataError, match="2 of 4096 samples of slice 1 are NaN or infinite"):
        scan.kspace(1)
