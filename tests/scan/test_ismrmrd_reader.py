"""The reader returns the image that a file was made of, whatever the order of its lines."""

from __future__ import annotations

import json
import shutil

import h5py
import numpy as np
import pytest
import torch

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.scan import Scan, load_scan

TOLERANCE = 1e-5


def images_of(scan: Scan, coil_maps: np.ndarray | None = None) -> np.ndarray:
    """Adjoint of every image; exact for full sampling and maps with unit sum of squares."""
    maps = "auto" if coil_maps is None else torch.from_numpy(coil_maps)
    problems = scan.problems(coil_maps=maps, prewhitening=False)
    return np.stack([p.operator.H(p.data)[0][0, 0].numpy() for p in problems])


def assert_is(found: np.ndarray, expected: np.ndarray) -> None:
    expected = expected.reshape(-1, *expected.shape[-3:])
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < TOLERANCE * np.abs(expected).max()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"matrix": (1, 13, 15)},
        {"coils": 3},
        {"oversampling": 2},
        {"oversampling": 2, "matrix": (1, 9, 15), "coils": 2},
        {"matrix": (6, 10, 12)},
        {"matrix": (5, 7, 9), "oversampling": 2, "coils": 2},
        {"is_reversed": True},
        {"is_reversed": True, "matrix": (1, 8, 15)},
        {"discard": (3, 5)},
        {"discard": (2, 0), "is_reversed": True, "oversampling": 2},
        {"averages": 3},
        {"averages": 2, "discard": (3, 2), "is_reversed": True},
        {"contrasts": 2, "repetitions": 3, "slices": 2},
        {"phases": 2, "sets": 2},
        {"vendor": "SIEMENS", "coils": 2},
        {"noise_lines": 4, "extra_flags": (20, 23, 24, 26, 27, 28, 29, 30, 31), "coils": 2},
        {"trajectory": "other"},
        {"trajectory": "epi"},
        {"group": "my measurement"},
    ],
    ids=lambda options: " ".join(f"{k}={v}" for k, v in options.items()) or "plain",
)
def test_full_sampling_gives_the_image(build_scan, options):
    built = build_scan(**options)
    scan = load_scan(built.path)
    assert_is(images_of(scan, built.coil_maps if built.spec.coils > 1 else None), built.image)


def test_interleaved_slices_come_in_order_of_position(build_scan):
    built = build_scan(slices=5, slice_order=[0, 3, 1, 4, 2])
    scan = load_scan(built.path)
    assert scan.volume_shape == (1, 5)
    assert [i.slice for i in scan.images] == [0, 3, 1, 4, 2]
    assert_is(images_of(scan), built.image)
    z = [scan.kspace(i).geometry.position_m[2] for i in range(5)]
    assert z == pytest.approx([-0.005, 0.0, 0.005, 0.010, 0.015], abs=1e-7)


def test_slices_along_a_tilted_normal(build_scan):
    c, s = np.cos(2.0), np.sin(2.0)  # the normal points down along z
    directions = np.array([[1, 0, 0], [0, c, s], [0, -s, c]])
    built = build_scan(slices=3, directions=directions, slice_order=[2, 1, 0])
    scan = load_scan(built.path)
    assert [i.slice for i in scan.images] == [2, 1, 0]
    geometry = scan.kspace(1).geometry
    assert geometry.is_known
    assert geometry.voxel_size_m == pytest.approx((0.005, 0.150 / 12, 0.200 / 16))
    assert geometry.y_direction == pytest.approx((0, c, s), abs=1e-6)
    assert geometry.position_m == pytest.approx((0.003, -0.004, 0.005), abs=1e-7)


def test_left_handed_directions_are_kept(build_scan):
    built = build_scan(directions=np.diag([-1.0, 1.0, 1.0]))
    assert load_scan(built.path).kspace(0).geometry.x_direction == (-1, 0, 0)


def test_missing_directions_are_said(build_scan):
    scan = load_scan(build_scan(directions=np.zeros((3, 3))).path)
    assert not scan.kspace(0).geometry.is_known
    assert any("orientation is not known" in note for note in scan.assumptions)


def test_order_of_images(build_scan):
    scan = load_scan(build_scan(contrasts=2, repetitions=2, slices=2).path)
    found = [(i.contrast, i.repetition, i.slice) for i in scan.images]
    assert found == [(c, r, s) for c in (0, 1) for r in (0, 1) for s in (0, 1)]
    assert scan.volume_shape == (4, 2)


def test_averages_that_cancel_stay_apart(build_scan):
    built = build_scan(averages=2, average_phases=(1, -1))
    scan = load_scan(built.path)
    assert scan.volume_shape == (2, 1)
    assert_is(images_of(scan), np.stack([built.image, -built.image]))
    assert any("differ in phase" in note for note in scan.assumptions)


def test_readouts_are_sorted_by_flag(build_scan):
    flags = (23, 24, 24, 26, 27, 28, 29, 30, 31)
    scan = load_scan(build_scan(noise_lines=2, extra_flags=flags, calibration=(5, 6)).path)
    assert scan.dropped == {
        "noise": 2,
        "navigator": 1,
        "phase correction": 2,
        "feedback": 2,
        "dummy": 1,
        "surface coil correction": 1,
        "phase stabilisation": 2,
    }
    assert scan.n_readouts == 12


def test_calibration_lines_are_kept_apart(build_scan):
    built = build_scan(
        matrix=(1, 24, 16), coils=2, keep=lambda row, _: row % 3 == 0, calibration=range(8, 16)
    )
    scan = load_scan(built.path)
    raw = scan.kspace(0)
    assert raw.mask.flatten().nonzero().flatten().tolist() == list(range(0, 24, 3))
    assert raw.calibration_mask.flatten().nonzero().flatten().tolist() == list(range(8, 16))
    assert scan.dropped == {"calibration only": 5}  # rows 9, 12 and 15 are both
    rows = raw.calibration_mask.flatten() & raw.mask.flatten()
    assert torch.equal(raw.calibration[..., rows, :], raw.data[..., rows, :])


def test_partial_fourier_rows(build_scan):
    built = build_scan(matrix=(1, 140, 8), first_row=42, n_rows=84)
    scan = load_scan(built.path)
    assert scan.header.limits["kspace_encoding_step_1"] == (0, 83, 28)
    rows = scan.kspace(0).mask.flatten().nonzero().flatten()
    assert (int(rows[0]), int(rows[-1]), rows.numel()) == (42, 125, 84)
    assert any("partial Fourier" in note for note in scan.assumptions)


def test_asymmetric_echo_is_masked(build_scan):
    built = build_scan(matrix=(1, 8, 16), readout=(4, 15))
    raw = load_scan(built.path).kspace(0)
    assert raw.mask.shape == (1, 1, 1, 8, 16)
    assert raw.mask[0, 0, 0, 3].tolist() == [False] * 4 + [True] * 12
    full = load_scan(build_scan(name="full.h5", matrix=(1, 8, 16)).path).kspace(0)
    assert torch.equal(raw.data[..., 4:], full.data[..., 4:])


def test_asymmetric_echo_of_an_oversampled_readout_fits_its_mask(build_scan):
    built = build_scan(matrix=(1, 8, 32), readout=(20, 63), oversampling=2)
    problem = load_scan(built.path).problems()[0]
    mask = problem.data.abs().sum(dim=(0, 1, 2, 3)) > 0
    assert mask.tolist() == [False] * 10 + [True] * 22
    full = load_scan(build_scan(name="full.h5", matrix=(1, 8, 32), oversampling=2).path).problems()[
        0
    ]
    error = (problem.data - full.data)[..., 14:].norm() / full.data[..., 14:].norm()
    assert error < 0.15  # interpolation of the readout's end from one side


def test_grid_is_enlarged_rather_than_wrapped(build_scan):
    built = build_scan(
        matrix=(1, 16, 8),
        mend=lambda xml: xml.replace("<y>16</y>", "<y>12</y>").replace(
            "<maximum>15</maximum>", "<maximum>20</maximum>"
        ),
    )
    scan = load_scan(built.path)
    assert scan.kspace(0).data.shape[-2] == 16
    assert_is(images_of(scan), built.image)
    assert any("enlarged from 12 to 16" in note for note in scan.assumptions)


def test_counters_from_one_are_shifted(build_scan):
    built = build_scan(counter_start=1)
    scan = load_scan(built.path)
    assert [r.code for r in scan.repairs] == ["k-space-centre"]
    assert_is(images_of(scan), built.image)


@pytest.mark.parametrize("matrix", [(1, 12, 16), (4, 12, 16)])
def test_centre_that_was_never_filled_in_is_found_by_energy(build_scan, matrix):
    built = build_scan(matrix=matrix, center=0)
    scan = load_scan(built.path)
    assert [(r.code, r.old, r.new) for r in scan.repairs] == [("k-space-centre", "0", "6")]
    assert_is(images_of(scan), built.image)


def test_half_fourier_from_the_centre_on_is_no_defect(build_scan):
    built = build_scan(first_row=6)
    scan = load_scan(built.path)
    assert scan.header.limits["kspace_encoding_step_1"] == (0, 5, 0)
    assert not scan.repairs
    assert scan.kspace(0).mask.flatten().tolist() == [False] * 6 + [True] * 6


def test_oversampling_that_the_header_does_not_mention(build_scan):
    built = build_scan(
        oversampling=2,
        mend=lambda xml: xml.replace("<x>32</x>", "<x>16</x>").replace("<x>400</x>", "<x>200</x>"),
    )
    scan = load_scan(built.path)
    assert [r.code for r in scan.repairs] == ["oversampling-not-in-header"]
    assert_is(images_of(scan), built.image)


def test_oversampling_that_was_removed_before_writing(build_scan):
    built = build_scan(
        center_sample=16,
        mend=lambda xml: xml.replace("<x>16</x>", "<x>32</x>", 1).replace(
            "<x>200</x>", "<x>400</x>", 1
        ),
    )
    scan = load_scan(built.path)
    assert [r.code for r in scan.repairs] == ["oversampling-already-removed"]
    assert_is(images_of(scan), built.image)


def test_centre_sample_beyond_the_readout_means_the_middle(build_scan):
    built = build_scan(center_sample=99)
    scan = load_scan(built.path)
    assert_is(images_of(scan), built.image)
    assert any("name no centre" in note for note in scan.assumptions)


def test_newest_data_set_is_read_and_key_chooses(build_scan, tmp_path):
    first, second = build_scan("one.h5", seed=1), build_scan("two.h5", seed=2, group="dataset_2")
    both = tmp_path / "both.h5"
    shutil.copy(first.path, both)
    with h5py.File(both, "a") as out, h5py.File(second.path) as source:
        source.copy("dataset_2", out)
    assert_is(images_of(load_scan(both)), second.image)
    assert_is(images_of(load_scan(both, key="dataset")), first.image)
    with pytest.raises(DataError, match=r"no data set 'datset'\. Did you mean 'dataset'"):
        load_scan(both, key="datset")


@pytest.mark.parametrize("unit", ["fractions", "cycles per field of view"])
def test_stored_radial_trajectory(build_scan, unit):
    n = 12
    angles = np.pi * np.arange(20) / 20
    radius = (np.arange(2 * n) - n) / (2 * n)
    k = radius[None, :, None] * np.stack([np.cos(angles), np.sin(angles)], -1)[:, None]
    if unit != "fractions":
        k = k * n
    built = build_scan(matrix=(1, n, n), positions=k, trajectory="radial", coils=2)
    scan = load_scan(built.path)
    raw = scan.kspace(0)
    assert raw.data.shape == (1, 2, 1, 20, 2 * n)
    assert raw.trajectory.shape == (1, 1, 20, 2 * n, 3)
    assert any(f"taken as {unit}" in note for note in scan.assumptions)
    problem = scan.problems(coil_maps=torch.from_numpy(built.coil_maps))[0]
    image = torch.from_numpy(built.image[0, 0, 0, 0])[None]
    (expected,) = problem.operator(image)
    assert (expected - problem.data).abs().max() < 1e-3 * problem.data.abs().max()


def test_non_cartesian_without_positions_is_an_error(build_scan):
    with pytest.raises(DataError, match="trajectory is spiral, but the readouts store none"):
        load_scan(build_scan(trajectory="spiral").path)


def test_nan_in_a_readout_is_counted(build_scan):
    built = build_scan()
    with h5py.File(built.path, "a") as file:
        record = file["dataset/data"][3]
        record["data"][4:6] = np.nan
        file["dataset/data"][3] = record
    with pytest.raises(DataError, match="1 of 192 values"):
        load_scan(built.path).kspace(0)


def test_short_readout_names_itself(build_scan):
    built = build_scan()
    with h5py.File(built.path, "a") as file:
        record = file["dataset/data"][3]
        record["data"] = record["data"][:-2]
        file["dataset/data"][3] = record
    with pytest.raises(DataError, match="readout 3 holds 30 samples; its header promises 32"):
        load_scan(built.path).kspace(0)


def test_absurd_matrix_is_refused_before_memory_is_taken(build_scan):
    built = build_scan(mend=lambda xml: xml.replace("<y>12</y>", "<y>60000</y>"))
    with pytest.raises(DataError, match="but an image has 192 samples per coil"):
        load_scan(built.path)


def test_file_without_image_readouts(build_scan):
    built = build_scan(noise_lines=3, keep=lambda *_: False)
    with pytest.raises(DataError, match=r"none of its 3 readouts belongs to an image \(3 noise\)"):
        load_scan(built.path)


def test_other_coil_counts_are_dropped_and_counted(build_scan, tmp_path):
    body, surface = build_scan("body.h5", coils=2), build_scan("surface.h5", coils=4)
    both = tmp_path / "both.h5"
    with h5py.File(both, "w") as out, h5py.File(surface.path) as a, h5py.File(body.path) as b:
        rows = np.concatenate([b["dataset/data"][:5], a["dataset/data"][...]])
        group = out.create_group("dataset")
        group["xml"] = a["dataset/xml"][...]
        group.create_dataset("data", data=rows, dtype=a["dataset/data"].dtype)
    scan = load_scan(both)
    assert scan.header.n_coils == 4
    assert scan.dropped == {"other coil count": 5}


def test_external_links_are_refused(build_scan, tmp_path):
    built = build_scan()
    linked = tmp_path / "linked.h5"
    with h5py.File(linked, "w") as file:
        group = file.create_group("dataset")
        group["xml"] = h5py.ExternalLink(str(built.path), "dataset/xml")
        group["data"] = h5py.ExternalLink(str(built.path), "dataset/data")
    with pytest.raises(DataError, match="'data' is an external link"):
        load_scan(linked)


def test_truncated_file(build_scan, tmp_path):
    content = build_scan(slices=4).path.read_bytes()
    for part in (0.1, 0.5, 0.9, 0.999):
        broken = tmp_path / "broken.h5"
        broken.write_bytes(content[: int(part * len(content))])
        with pytest.raises(DataError, match="truncated or damaged") as error:
            scan = load_scan(broken)
            [scan.kspace(i) for i in range(len(scan.images))]
        assert "\n" not in str(error.value)


def test_raw_array_options_do_not_apply(build_scan):
    with pytest.raises(UsageError, match="names its own axes"):
        load_scan(build_scan().path, axes="y x")


def test_describe_is_json(build_scan):
    built = build_scan(coils=2, noise_lines=2, keep=lambda row, _: row % 2 == 0)
    description = load_scan(built.path).describe()
    assert json.loads(json.dumps(description)) == description
    assert description["sampling_fraction"] == 0.5
    assert description["noise_samples_per_coil"] == 128
    assert description["field_strength_t"] == 0.047
    assert description["echo_time_s"] == [0.02]
    assert description["encoded_fov_m_zyx"] == pytest.approx([0.004, 0.15, 0.2])


def test_reading_does_not_change_the_file(build_scan):
    built = build_scan()
    before = built.path.read_bytes()
    images_of(load_scan(built.path))
    assert built.path.read_bytes() == before


def test_missing_file_is_not_created(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        load_scan(tmp_path / "typo.h5")
    assert not list(tmp_path.iterdir())


def keep_rows(path, is_kept):
    """Rewrite a file with the readouts for which `is_kept(head)` holds."""
    with h5py.File(path, "a") as file:
        rows = file["dataset/data"][...]
        kept = rows[[bool(is_kept(head)) for head in rows["head"]]]
        kind = file["dataset/data"].dtype
        del file["dataset/data"]
        file["dataset"].create_dataset("data", data=kept, dtype=kind)


def test_each_repetition_uses_its_own_calibration_or_the_first(build_scan):
    built = build_scan(repetitions=2, keep=lambda row, _: row % 2 == 0, calibration=range(4, 9))
    scan = load_scan(built.path)
    for i in (0, 1):
        raw = scan.kspace(i)
        assert torch.equal(raw.calibration[..., [4, 6, 8], :], raw.data[..., [4, 6, 8], :])
    first = scan.kspace(0).calibration
    is_calibration = (1 << 19) | (1 << 20)
    keep_rows(
        built.path,
        lambda head: head["idx"]["repetition"] == 0 or not int(head["flags"]) & is_calibration,
    )
    shared = load_scan(built.path)
    assert shared.kspace(1).mask.flatten().nonzero().flatten().tolist() == [0, 2, 10]
    assert torch.equal(shared.kspace(1).calibration, first)


@pytest.mark.parametrize(
    "storage",
    [{}, {"chunks": (7,)}, {"chunks": (5,), "compression": "gzip", "shuffle": True}],
    ids=["contiguous", "chunks of 7", "compressed"],
)
def test_any_storage_of_the_records(build_scan, storage):
    built = build_scan(coils=2, noise_lines=2)
    with h5py.File(built.path, "a") as file:
        rows, kind = file["dataset/data"][...], file["dataset/data"].dtype
        del file["dataset/data"]
        file["dataset"].create_dataset("data", data=rows, dtype=kind, **storage)
    scan = load_scan(built.path)
    assert scan.dropped == {"noise": 2}
    assert_is(images_of(scan, built.coil_maps), built.image)


def bytes_read() -> int:
    with open("/proc/self/io") as stream:  # noqa: PTH123
        return int(stream.readline().split()[1])


def test_headers_are_read_without_the_samples(build_scan):
    path = build_scan(matrix=(1, 64, 512), coils=8).path
    load_scan(path)
    before = bytes_read()
    load_scan(path)
    assert bytes_read() - before < 0.3 * path.stat().st_size


def test_claims_beyond_the_file_are_refused(build_scan):
    built = build_scan(coils=2)
    content = bytearray(built.path.read_bytes())
    with h5py.File(built.path) as file:
        at = file["dataset/data"].id.get_chunk_info(3).byte_offset + 356  # length of the samples
    assert int.from_bytes(content[at : at + 4], "little") == 64
    content[at + 3] = 100
    built.path.write_bytes(content)
    with pytest.raises(DataError, match="a readout claims 1677721664 values, more than the file"):
        load_scan(built.path)
