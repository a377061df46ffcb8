"""Malformed headers: the image is right, and every repair is named in the text and in the JSON."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest

from lowfield_recon.cli.app import main
from lowfield_recon.errors import DataError
from lowfield_recon.scan import load_scan


def cut(xml: str, name: str) -> str:
    """Remove the first element of a name with everything inside."""
    return re.sub(f"<{name}>.*?</{name}>", "", xml, count=1, flags=re.DOTALL)


def swap(old: str, new: str):
    def change(xml: str) -> str:
        assert old in xml
        return xml.replace(old, new)

    return change


PARAMETERS = "<userParameters>{}</userParameters></ismrmrdHeader>"

DEFECTS = {
    "older writer without a patient position": (
        "patient-position-missing",
        lambda x: cut(x, "patientPosition"),
    ),
    "no trajectory": ("trajectory-missing", lambda x: cut(x, "trajectory")),
    "matrix as decimals": ("integer-as-float", swap("<x>16</x>", "<x>16.0</x>")),
    "limits as decimals": (
        "integer-as-float",
        swap("<maximum>11</maximum>", "<maximum>11.0</maximum>"),
    ),
    "capital letters in the trajectory": ("word-spelling", swap("cartesian", "CARTESIAN")),
    "small letters in the patient position": ("word-spelling", swap("HFS", "hfs")),
    "a synonym of the trajectory": ("word-spelling", swap("cartesian", "Cartesian3D")),
    "no known patient position": ("unknown-word", swap("HFS", "sitting")),
    "an element that is not in the schema": (
        "unknown-element",
        swap("<encoding>", "<consoleVersion>1.2</consoleVersion><encoding>"),
    ),
    "no namespace": ("namespace-missing", swap(' xmlns="http://www.ismrm.org/ISMRMRD"', "")),
    "an empty optional element": (
        "empty-element",
        swap("</encoding>", "<echoTrainLength/></encoding>"),
    ),
    "a timing that is no number": ("not-a-number", swap("<TE>20</TE>", "<TE>N/A</TE>")),
    "a receiver count that is not whole": (
        "not-a-number",
        swap("<receiverChannels>1<", "<receiverChannels>1.5<"),
    ),
    "a time where a date belongs": (
        "not-a-date",
        swap("<protocolName>", "<seriesDate>12:01:02</seriesDate><protocolName>"),
    ),
    "a coil label without a name": (
        "incomplete-element",
        swap(
            "</receiverChannels>",
            "</receiverChannels><coilLabel><coilNumber>0</coilNumber></coilLabel>",
        ),
    ),
    "a user parameter without a value": (
        "incomplete-element",
        swap(
            "</ismrmrdHeader>",
            PARAMETERS.format("<userParameterLong><name>a</name></userParameterLong>"),
        ),
    ),
    "no encoding limits": ("encoding-limits-missing", lambda x: cut(x, "encodingLimits")),
    "no limits of the phase encoding": (
        "encoding-limit-missing",
        lambda x: cut(x, "kspace_encoding_step_1"),
    ),
    "limits without a centre": (
        "encoding-limit-missing",
        swap("<maximum>11</maximum><center>6</center>", "<maximum>11</maximum>"),
    ),
    "a centre that is no number": (
        "encoding-limit-missing",
        swap("<center>6</center>", "<center>middle</center>"),
    ),
    "a centre that was never filled in": (
        "k-space-centre",
        swap("<center>6</center>", "<center>0</center>"),
    ),
    "no experimental conditions": ("frequency-missing", lambda x: cut(x, "experimentalConditions")),
    "frequency in megahertz": ("frequency-in-mhz", swap("2001141", "2.001141")),
    "frequency divided by 2 pi twice": (
        "frequency-over-two-pi",
        swap("2001141", f"{2001141 / math.tau:.6f}"),
    ),
    "nominal field": ("field-frequency-disagree", swap("_T>0.047", "_T>0.05")),
    "field in millitesla": ("field-strength-unit", swap("_T>0.047", "_T>47")),
    "field in gauss": ("field-strength-unit", swap("_T>0.047", "_T>470")),
    "field in gauss, frequency in megahertz": (
        "field-strength-unit",
        lambda x: x.replace("_T>0.047", "_T>470.0").replace("2001141", "2.001141"),
    ),
    "field of view in metres": (
        "fov-in-metres",
        swap("<x>200</x><y>150</y><z>4</z>", "<x>.2</x><y>.15</y><z>.004</z>"),
    ),
    "no image space": ("recon-space-missing", lambda x: cut(x, "reconSpace")),
    "no field of view of the image": (
        "recon-space-missing",
        lambda x: re.sub(r"(<reconSpace>.*?)<fieldOfView_mm>.*?</fieldOfView_mm>", r"\1", x),
    ),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_image_is_right_and_the_repair_is_named(build_scan, name, capsys):
    code, defect = DEFECTS[name]
    built = build_scan(mend=defect)
    scan = load_scan(built.path)
    problem = scan.problems()[0]
    found = problem.operator.H(problem.data)[0][0, 0].numpy()
    true = built.image.reshape(1, 12, 16)
    assert np.abs(found - true).max() < 1e-5 * np.abs(true).max()
    assert scan.header.field_strength_t == pytest.approx(0.047, rel=1e-4)
    assert scan.header.larmor_frequency_hz == pytest.approx(2001141, rel=1e-4)
    assert problem.geometry.voxel_size_m == pytest.approx((0.004, 0.0125, 0.0125))
    (repair, *_) = [repair for repair in scan.repairs if repair.code == code]
    assert main(["info", str(built.path)]) == 0
    assert f"  {code}: {repair.message}" in capsys.readouterr().out
    assert main(["info", str(built.path), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["repairs"]
    assert {"code": code, "message": repair.message, "old": repair.old, "new": repair.new} in listed
    with pytest.raises(DataError, match=f"repairs .*{code}.* strict reading refuses"):
        load_scan(built.path, strict=True)


def test_there_are_more_than_ten_kinds():
    assert len({code for code, _ in DEFECTS.values()}) > 10


def test_all_defects_at_once(build_scan):
    """Those that do not take away what another one changes, together in one header."""
    names = [
        "older writer without a patient position",
        "matrix as decimals",
        "capital letters in the trajectory",
        "an element that is not in the schema",
        "no namespace",
        "an empty optional element",
        "a timing that is no number",
        "no encoding limits",
        "field in gauss, frequency in megahertz",
        "field of view in metres",
    ]

    def defect(xml: str) -> str:
        for name in names:
            xml = DEFECTS[name][1](xml)
        return xml

    built = build_scan(mend=defect)
    scan = load_scan(built.path)
    problem = scan.problems()[0]
    found = problem.operator.H(problem.data)[0][0, 0].numpy()
    true = built.image.reshape(1, 12, 16)
    assert np.abs(found - true).max() < 1e-5 * np.abs(true).max()
    assert {DEFECTS[name][0] for name in names} <= {repair.code for repair in scan.repairs}


def parameters(*entries: tuple[str, str, object]) -> str:
    return PARAMETERS.format(
        "".join(
            f"<userParameter{kind}><name>{name}</name><value>{value}</value></userParameter{kind}>"
            for kind, name, value in entries
        )
    )


def test_user_parameters_are_kept_and_shown(build_scan, capsys):
    text = parameters(
        ("Long", "shots", 4), ("Double", "drift_Hz_per_min", 1.25), ("String", "coil", "solenoid 3")
    )
    built = build_scan(mend=swap("</ismrmrdHeader>", text))
    scan = load_scan(built.path)
    expected = {"shots": 4, "drift_Hz_per_min": 1.25, "coil": "solenoid 3"}
    assert scan.header.user_parameters == expected
    assert scan.repairs == ()
    assert main(["info", str(built.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["user_parameters"] == expected
    assert main(["info", str(built.path)]) == 0
    shown = capsys.readouterr().out
    assert "  shots: 4\n" in shown
    assert "  coil: solenoid 3\n" in shown


SECRETS = ("Erika Mustermann", "19640812", "MRN-4711", "0815")


def test_data_of_the_patient_is_never_shown(build_scan, capsys):
    """Names, numbers and birth dates, well-formed or not, in whatever element they stand."""
    subject = (
        "<subjectInformation><patientName>Erika Mustermann</patientName>"
        "<patientID>MRN-4711</patientID><patientBirthdate>19640812</patientBirthdate>"
        "<patientNickname>Erika Mustermann</patientNickname></subjectInformation>"
        "<studyInformation><accessionNumber>0815.5</accessionNumber></studyInformation>"
        "<Patient><Name>Erika Mustermann</Name></Patient>"
    )
    text = parameters(
        ("String", "tPatientName", "Erika Mustermann"),
        ("String", "subject_id", "MRN-4711"),
        ("Long", "PatientBirthDay", 19640812),
    )
    built = build_scan(
        mend=lambda x: x.replace("<measurementInf", subject + "<measurementInf").replace(
            "</ismrmrdHeader>", text
        )
    )
    scan = load_scan(built.path)
    assert scan.header.user_parameters == {}
    assert any("3 user parameters with data of the patient" in note for note in scan.assumptions)
    assert {"unknown-element", "not-a-date", "not-a-number"} == {r.code for r in scan.repairs}
    for words in (["info", str(built.path)], ["info", str(built.path), "--json"]):
        assert main(words) == 0
        shown = capsys.readouterr()
        assert not [secret for secret in SECRETS if secret in shown.out + shown.err]


def test_user_parameters_are_bounded(build_scan):
    many = [("Long", f"a{i}", i) for i in range(300)]
    text = parameters(
        ("String", "long", "x" * 20000),
        ("String", "n" * 200, "y"),
        ("Base64", "blob", "AAAA"),
        ("Long", "twice", 1),
        ("Long", "twice", 2),
        *many,
    )
    scan = load_scan(build_scan(mend=swap("</ismrmrdHeader>", text)).path)
    kept = scan.header.user_parameters
    assert len(kept) == 256
    assert kept["twice"] == 1
    assert "long" not in kept
    assert any("49 user parameters were left out" in note for note in scan.assumptions)


def test_a_field_that_nothing_confirms_is_asked_for(build_scan):
    built = build_scan(mend=swap("_T>0.047", "_T>900"))
    with pytest.raises(DataError, match="confirms neither millitesla nor gauss"):
        load_scan(built.path)
    assert load_scan(built.path, field_strength_t=0.047).header.field_strength_t == 0.047
