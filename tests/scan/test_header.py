"""Every defect of a header is mended, named, and accepted by `ismrmrd` afterwards."""

from __future__ import annotations

import math
import warnings

import pytest
from ismrmrd import xsd

from lowfield_recon.errors import DataError
from lowfield_recon.scan import load_scan
from lowfield_recon.scan.header import header_record, repair_header, repaired_xml
from lowfield_recon.scan.header_evidence import Evidence

COUNTERS = {
    "kspace_encoding_step_1": (0, 11),
    "kspace_encoding_step_2": (0, 0),
    "slice": (0, 3),
}
EVIDENCE = Evidence(where="scan.h5", counters=COUNTERS)


@pytest.fixture
def good(build_scan) -> str:
    texts = []
    build_scan(mend=lambda xml: texts.append(xml) or xml)
    return texts[0]


def cut(xml: str, name: str) -> str:
    """Remove the first element of a name with everything inside."""
    end = f"</{name}>"
    start = xml.index(f"<{name}>")
    return xml[:start] + xml[xml.index(end) + len(end) :]


DEFECTS = {
    "patient-position-missing": lambda x: cut(x, "patientPosition"),
    "trajectory-missing": lambda x: cut(x, "trajectory"),
    "integer-as-float": lambda x: x.replace("<x>16</x>", "<x>16.0</x>"),
    "word-spelling": lambda x: x.replace("cartesian", "Cartesian3D").replace("HFS", "hfs"),
    "unknown-word": lambda x: x.replace("HFS", "sitting"),
    "unknown-element": lambda x: x.replace("<encoding>", "<studyUID>1.2</studyUID><encoding>"),
    "namespace-missing": lambda x: x.replace(' xmlns="http://www.ismrm.org/ISMRMRD"', ""),
    "header-nul": lambda x: x + "\0\0junk",
    "header-encoding": lambda x: x.replace("Halbach", "Hälbach").encode("latin-1"),
    "empty-element": lambda x: x.replace("</encoding>", "<echoTrainLength/></encoding>"),
    "not-a-number": lambda x: x.replace("<TE>20</TE>", "<TE>N/A</TE>"),
    "encoding-limits-missing": lambda x: cut(x, "encodingLimits"),
    "frequency-missing": lambda x: cut(x, "experimentalConditions"),
    "frequency-in-mhz": lambda x: x.replace("2001141", "2.001141"),
    "frequency-over-two-pi": lambda x: x.replace("2001141", str(2001141 / math.tau)),
    "field-frequency-disagree": lambda x: x.replace("0.047", "0.05"),
    "fov-in-metres": lambda x: x.replace(
        "<x>200</x><y>150</y><z>4</z>", "<x>.2</x><y>.15</y><z>.004</z>"
    ),
    "recon-space-missing": lambda x: cut(x, "reconSpace"),
}


def test_a_good_header_needs_no_repair(good):
    root, repairs = repair_header(good, EVIDENCE)
    assert not repairs
    header = header_record(root, encoding=0, n_coils=1, where="scan.h5")
    assert header.encoded_fov_m == pytest.approx((0.004, 0.150, 0.200))
    assert header.flip_angle_rad == pytest.approx((math.pi / 2,))
    assert header.repetition_time_s == (0.5,)
    assert (header.vendor, header.patient_position) == ("OSI2", "HFS")


@pytest.mark.parametrize("code", DEFECTS)
def test_defect_is_mended_and_named(good, code):
    broken = DEFECTS[code](good)
    root, repairs = repair_header(broken, EVIDENCE)
    assert code in [repair.code for repair in repairs]
    header = header_record(root, encoding=0, n_coils=1, where="scan.h5")
    assert header.encoded_matrix == (1, 12, 16)
    assert header.recon_fov_m == pytest.approx((0.004, 0.150, 0.200))
    assert header.larmor_frequency_hz == pytest.approx(2001141, rel=1e-4)
    assert header.field_strength_t == pytest.approx(0.047, rel=1e-4)
    assert header.trajectory == "cartesian"
    assert header.patient_position == "HFS" or code == "unknown-word"


@pytest.mark.parametrize("code", DEFECTS)
def test_mended_header_is_valid_for_the_ismrmrd_package(good, code):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        header = xsd.CreateFromDocument(repaired_xml(DEFECTS[code](good), EVIDENCE))
    assert header.encoding[0].encodedSpace.matrixSize.x == 16
    assert header.encoding[0].encodingLimits.kspace_encoding_step_1.center == 6
    assert header.measurementInformation.patientPosition.value == "HFS"
    assert header.encoding[0].trajectory.value == "cartesian"


@pytest.mark.parametrize("code", DEFECTS)
def test_strict_reading_refuses(build_scan, code):
    if code == "header-nul":  # strings in HDF5 files cannot hold it
        return
    defect = DEFECTS[code]
    built = build_scan(mend=lambda xml: _text(defect(xml)))
    code = "word-spelling" if code == "header-encoding" else code
    if defect is DEFECTS["header-encoding"]:
        assert load_scan(built.path, strict=True).header.model == "Hälbach"
        return
    assert code in [repair.code for repair in load_scan(built.path).repairs]
    with pytest.raises(DataError, match=f"scan.h5: needs .* repairs .*{code}"):
        load_scan(built.path, strict=True)


def _text(xml: str | bytes) -> str:
    return xml.decode("latin-1") if isinstance(xml, bytes) else xml


def test_all_repairs_are_logged(build_scan, caplog):
    load_scan(build_scan(mend=DEFECTS["patient-position-missing"]).path)
    assert "scan.h5: patient-position-missing: The header names no patient position" in caplog.text


def test_other_trajectory_is_inferred_from_stored_positions(good):
    root, repairs = repair_header(cut(good, "trajectory"), Evidence(has_trajectory=True))
    assert [r.new for r in repairs] == ["other"]
    assert header_record(root, encoding=0, n_coils=1, where="").trajectory == "other"


@pytest.mark.parametrize(
    ("defect", "words"),
    [
        (lambda x: "<!DOCTYPE a [<!ENTITY b 'c'>]>" + x[21:], "document type or entities"),
        (lambda x: x[: len(x) // 2], "not well-formed XML"),
        (lambda _: "", "header is empty"),
        (lambda _: "<html/>", "begins with <html>"),
        (lambda _: "<a>" + " " * (5 << 20) + "</a>", "at most 4194304"),
        (
            lambda x: x.replace("<x>16</x>", "<x>35.9996</x>"),
            "matrixSize/x> holds '35.9996'; expected a whole",
        ),
        (lambda x: x.replace("<x>16</x>", "<x>many</x>"), "holds 'many'; expected a number"),
        (lambda x: x.replace("<x>16</x>", "<x>inf</x>"), "holds 'inf'; expected a number"),
        (lambda x: x.replace("<x>16</x>", "<x>0</x>"), "expected 1 to 65536"),
        (lambda x: x.replace("<x>16</x>", "<x>1000000</x>"), "expected 1 to 65536"),
        (lambda x: cut(x, "encoding"), "has no <encoding>"),
        (lambda x: cut(x, "encodedSpace"), "lacks encodedSpace/matrixSize"),
        (lambda x: x.replace("0.047", "900"), "no field in tesla, .*field_strength_t=0.055"),
        (lambda x: x.replace("0.047", "4.7e7"), "no field in tesla, .*field_strength_t=0.055"),
        (lambda x: x.replace("<x>200</x>", "<x>-200</x>"), "expected lengths in millimetres"),
    ],
)
def test_what_cannot_be_mended_is_one_line(good, defect, words):
    with pytest.raises(DataError, match=words) as error:
        root, _ = repair_header(defect(good), EVIDENCE)
        header_record(root, encoding=0, n_coils=1, where="scan.h5")
    assert "\n" not in str(error.value)


def test_readouts_of_an_encoding_that_is_not_there(good):
    root, _ = repair_header(good, EVIDENCE)
    with pytest.raises(DataError, match="refer to encoding 2, but the header has 1"):
        header_record(root, encoding=2, n_coils=1, where="scan.h5")


def test_encoding_and_field_from_the_caller(good):
    given = Evidence(
        matrix=(1, 12, 16), fov_m=(0.004, 0.15, 0.2), counters=COUNTERS, field_strength_t=0.06
    )
    root, repairs = repair_header(cut(good, "encoding"), given)
    header = header_record(root, encoding=0, n_coils=1, where="scan.h5")
    assert header.encoded_matrix == (1, 12, 16)
    assert header.encoded_fov_m == pytest.approx((0.004, 0.15, 0.2))
    assert header.field_strength_t == 0.06
    assert {"encoding-missing", "field-strength-given", "encoding-limits-missing"} <= {
        r.code for r in repairs
    }


def test_file_without_field_and_frequency(good):
    xml = cut(cut(good, "experimentalConditions"), "systemFieldStrength_T")
    root, repairs = repair_header(xml, EVIDENCE)
    header = header_record(root, encoding=0, n_coils=1, where="scan.h5")
    assert header.field_strength_t is None
    assert header.larmor_frequency_hz is None
    assert "both are unknown" in repairs[0].message
