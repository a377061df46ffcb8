"""Counters of low-field consoles: what stands for what, and files in the shape of four writers."""

from __future__ import annotations

import ismrmrd.hdf5
import numpy as np
import pytest
import torch

from lowfield_recon.scan import load_scan
from lowfield_recon.scan.counters import mend_counters
from lowfield_recon.scan.records import ScanHeader

HEAD = ismrmrd.hdf5.acquisition_header_dtype


def heads_of(**counters):
    n = len(next(iter(counters.values())))
    heads = np.zeros(n, dtype=HEAD)
    for name, values in counters.items():
        heads["idx"][name] = values
    return heads


def mended(heads, matrix=(1, 8, 16), limits=None, **known):
    header = ScanHeader(
        encoded_matrix=matrix,
        recon_matrix=matrix,
        limits=limits or {"kspace_encoding_step_1": (0, matrix[1] - 1, matrix[1] // 2)},
        **known,
    )
    return mend_counters(heads, np.ones(heads.size, dtype=bool), header)


@pytest.mark.parametrize("name", ["contrast", "repetition"])
def test_disjoint_lines_that_fill_the_grid_are_one_image(name):
    heads = heads_of(kspace_encode_step_1=range(8), **{name: [0, 1, 2, 3] * 2})
    found, header, (repair,) = mended(heads, limits={name: (0, 3, 0)})
    assert (repair.code, repair.old) == ("counter-numbers-shots", name)
    assert not found["idx"][name].any()
    assert header.limits[name] == (0, 0, 0)
    assert heads["idx"][name].any()  # the headers that came in are left alone


def test_echo_and_shot_number_together():
    steps = np.array([0, 2, 4, 6, 1, 3, 5, 7])
    heads = heads_of(
        kspace_encode_step_1=steps, contrast=np.arange(8) % 4 + 1, repetition=np.arange(8) // 4 + 1
    )
    found, _, (repair,) = mended(heads)
    assert repair.old == "contrast and repetition"
    assert not found["idx"]["contrast"].any()
    assert not found["idx"]["repetition"].any()


def test_partial_fourier_lines_fill_the_limits():
    heads = heads_of(kspace_encode_step_1=range(6), contrast=[0, 1] * 3)
    limits = {"kspace_encoding_step_1": (0, 5, 4)}
    assert mended(heads, limits=limits)[2]
    assert not mended(heads)[2]  # six of eight lines: undersampled contrasts


@pytest.mark.parametrize(
    "heads",
    [
        heads_of(kspace_encode_step_1=[*range(8), *range(8)], contrast=[0] * 8 + [1] * 8),
        heads_of(kspace_encode_step_1=[*range(8), 4], contrast=[0] * 8 + [1]),
        heads_of(kspace_encode_step_1=[0, 2, 4, 6, 1, 3, 5, 3], repetition=[0] * 4 + [1] * 4),
        heads_of(kspace_encode_step_1=range(0, 8, 2), repetition=[0, 0, 1, 1]),
        heads_of(kspace_encode_step_1=range(8), phase=[0, 1] * 4),
    ],
    ids=["full images", "one line repeated", "a line missing", "undersampled", "cardiac phases"],
)
def test_counters_that_mean_what_they_say(heads):
    found, _, repairs = mended(heads)
    assert repairs == ()
    np.testing.assert_array_equal(found, heads)


def test_as_many_echo_times_as_contrasts_are_contrasts():
    heads = heads_of(kspace_encode_step_1=range(8), contrast=[0, 1] * 4)
    assert not mended(heads, echo_time_s=(0.01, 0.02))[2]
    assert mended(heads, echo_time_s=(0.01,))[2]


def volume_heads(n_z=4, n_y=8, start=1):
    part, row = np.divmod(np.arange(n_z * n_y), n_y)
    return heads_of(kspace_encode_step_1=row, slice=part + start)


def test_slice_counts_the_partitions_of_a_volume():
    found, header, (repair,) = mended(volume_heads(), matrix=(4, 8, 16))
    assert (repair.code, repair.old) == ("slice-counts-partitions", "slice")
    assert found["idx"]["kspace_encode_step_2"][::8].tolist() == [0, 1, 2, 3]
    assert not found["idx"]["slice"].any()
    assert header.limits["kspace_encoding_step_2"] == (0, 3, 2)


def test_slices_at_places_of_their_own_stay_slices():
    heads = volume_heads()
    heads["position"][:, 2] = 5.0 * heads["idx"]["slice"]
    assert not mended(heads, matrix=(4, 8, 16))[2]


@pytest.mark.parametrize("matrix", [(1, 8, 16), (5, 8, 16)])
def test_slices_that_do_not_match_the_partitions_stay_slices(matrix):
    assert not mended(volume_heads(), matrix=matrix)[2]


CONSOLE = (
    '<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">'
    "<acquisitionSystemInformation>{system}<receiverChannels>1</receiverChannels>"
    "</acquisitionSystemInformation><experimentalConditions><H1resonanceFrequency_Hz>{frequency}"
    "</H1resonanceFrequency_Hz></experimentalConditions>{encoding}</ismrmrdHeader>"
)


def encoding(
    matrix, fov, *, number=str, limits="", trajectory="<trajectory>cartesian</trajectory>"
):
    def triple(name, values, text):
        z, y, x = (text(v) for v in values)
        return f"<{name}><x>{x}</x><y>{y}</y><z>{z}</z></{name}>"

    space = triple("matrixSize", matrix, number) + triple("fieldOfView_mm", fov, str)
    step_1 = f"<minimum>0</minimum><maximum>{matrix[1] - 1}</maximum>"
    step_1 += f"<center>{round(matrix[1] / 2)}</center>"
    return (
        f"<encoding><encodedSpace>{space}</encodedSpace><reconSpace>{space}</reconSpace>"
        f"<encodingLimits><kspace_encoding_step_1>{step_1}</kspace_encoding_step_1>{limits}"
        f"</encodingLimits>{trajectory}</encoding>"
    )


def console(system="", frequency="2001141", encoding=""):
    return lambda _: CONSOLE.format(system=system, frequency=frequency, encoding=encoding)


def image_of(scan):
    problems = scan.problems(prewhitening=False)
    assert len(problems) == 1
    return problems[0].operator.H(problems[0].data)[0][0, 0].numpy()


def assert_is_the_image(scan, built, tolerance=1e-5):
    expected = built.image.reshape(built.spec.matrix)
    found = image_of(scan)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < tolerance * np.abs(expected).max()


@pytest.mark.parametrize("matrix", [(1, 12, 16), (4, 12, 16), (3, 16, 15)])
@pytest.mark.parametrize("averages", [1, 2])
def test_file_as_marge_writes_it(build_scan, matrix, averages):
    """No encoding, frequency in MHz, all counters from 1, echo and shot numbers, partitions."""
    n_z, n_y, _ = matrix
    train = 4
    order = np.argsort(np.arange(n_y) % (n_y // train), kind="stable")  # the k-space order

    def fields(row, part):
        place = int(np.flatnonzero(order == row)[0])
        return {
            "contrast": place % train + 1,
            "repetition": place // train + part * (n_y // train) + 1,
            "slice": part + 1,
            "kspace_encode_step_1": row + 1,
            "kspace_encode_step_2": 0,
            "center_sample": 0,
        }

    built = build_scan(
        matrix=matrix,
        averages=averages,
        discard=(5, 5),
        fields=fields,
        mend=console(frequency="2.001141"),
    )
    scan = load_scan(built.path, matrix=matrix, fov_m=(0.004 * n_z, 0.15, 0.2))
    assert_is_the_image(scan, built)
    codes = [repair.code for repair in scan.repairs]
    assert {"encoding-missing", "frequency-in-mhz", "counter-numbers-shots"} <= set(codes)
    assert ("slice-counts-partitions" in codes) == (n_z > 1)
    assert codes[-1] == "k-space-centre"
    assert scan.header.field_strength_t == pytest.approx(0.047, rel=1e-3)
    assert scan.n_readouts == n_z * n_y * averages


@pytest.mark.parametrize("matrix", [(4, 12, 16), (5, 13, 15)])
def test_file_as_mri4all_writes_it(build_scan, matrix):
    """slice counts partitions from 1, field of view equal to the matrix, no limits of step 2."""
    built = build_scan(
        matrix=matrix,
        fields=lambda _, part: {"slice": part + 1, "kspace_encode_step_2": 0, "sample_time_us": 0},
        mend=console(frequency="2043360.0", encoding=encoding(matrix, matrix)),
    )
    scan = load_scan(built.path)
    assert_is_the_image(scan, built)
    assert "slice-counts-partitions" in [repair.code for repair in scan.repairs]
    assert any("equals the matrix in all directions" in note for note in scan.assumptions)
    assert any("sample_time_us is 0" in note for note in scan.assumptions)
    assert scan.kspace(0).geometry.voxel_size_m == pytest.approx((1e-3,) * 3)
    given = load_scan(built.path, fov_m=(0.02, 0.15, 0.2))
    assert given.header.encoded_fov_m == pytest.approx((0.02, 0.15, 0.2))
    assert "fov-given" in [repair.code for repair in given.repairs]
    assert not any("equals the matrix" in note for note in given.assumptions)


@pytest.mark.parametrize("matrix", [(1, 12, 16), (4, 12, 16)])
@pytest.mark.parametrize("trajectory", ["", "<trajectory>cartesian</trajectory>"])
def test_file_as_the_nexus_console_writes_it(build_scan, matrix, trajectory):
    """Sizes as decimals, a time for a date, no patient position, positions that are all zero."""
    system = "<systemVendor>OSII</systemVendor><systemModel>Nexus</systemModel>"
    system += "<systemFieldStrength_T>0.047</systemFieldStrength_T>"
    header = console(
        system,
        encoding=encoding(
            matrix,
            (4 * matrix[0], 150, 200),
            number=lambda n: f"{n:.1f}",
            trajectory=trajectory,
            limits="<kspace_encoding_step_2><minimum>0</minimum>"
            f"<maximum>{matrix[0] - 1}</maximum><center>{matrix[0] // 2}</center>"
            "</kspace_encoding_step_2>",
        ),
    )
    measurement = "<measurementInformation><measurementID>tse</measurementID>"
    measurement += "<seriesDate>12:30:05</seriesDate></measurementInformation>"
    built = build_scan(
        matrix=matrix,
        fields=lambda _, __: {"positions": np.zeros((16, 3), np.float32)},
        mend=lambda xml: header(xml).replace("<acquis", measurement + "<acquis", 1),
    )
    scan = load_scan(built.path)
    assert_is_the_image(scan, built)
    codes = {repair.code for repair in scan.repairs}
    assert {"integer-as-float", "not-a-date", "patient-position-missing"} <= codes
    assert ("trajectory-all-zero" in codes) == (trajectory == "")
    assert scan.header.echo_time_s is None


def test_file_with_an_osi2_header(build_scan):
    built = build_scan(
        matrix=(4, 12, 16),
        vendor="OSI2",
        mend=lambda xml: (
            xml.replace("<patientPosition>HFS</patientPosition>", "")
            .replace("<x>16</x>", "<x>16.0</x>")
            .replace("<y>12</y>", "<y>12.0</y>")
            .replace("<z>4</z>", "<z>4.0</z>")
        ),
    )
    scan = load_scan(built.path)
    assert_is_the_image(scan, built)
    codes = [repair.code for repair in scan.repairs]
    assert codes.count("integer-as-float") == 6
    assert codes.count("patient-position-missing") == 1


def test_real_contrasts_of_a_file_stay_images(build_scan):
    built = build_scan(contrasts=2, repetitions=2)
    scan = load_scan(built.path)
    assert len(scan.images) == 4
    assert scan.repairs == ()
    assert not torch.equal(scan.kspace(0).data, scan.kspace(1).data)
