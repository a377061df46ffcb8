"""Preparation of each image: whitening, oversampling, undersampling, coil maps, noise, laziness."""

from __future__ import annotations

import os
import tracemalloc

import h5py
import numpy as np
import pytest
import torch

from lowfield_recon.errors import UsageError
from lowfield_recon.scan import Undersampling, load_scan
from lowfield_recon.scan.preparation import fewer_readouts, is_complete
from lowfield_recon.scan.readouts import ReadoutFile
from lowfield_recon.scan.records import RawKSpace


def test_whitening_with_the_dwell_time_factor(build_scan):
    built = build_scan(coils=3, noise_lines=20, noise_dwell_us=20.0)
    scan = load_scan(built.path)
    assert scan.noise_scale == pytest.approx(5.0 / 20.0 * 0.8)
    n = built.noise.transpose(1, 0, 2).reshape(3, -1).astype(complex)
    assert np.allclose(scan.noise.numpy(), n, atol=1e-6)
    L = np.linalg.cholesky(n @ n.conj().T / n.shape[1])
    maps = torch.from_numpy(built.coil_maps)
    plain = scan.problems(coil_maps=maps, prewhitening=False)[0]
    white = scan.problems(coil_maps=maps)[0]
    expected = np.sqrt(0.2) * np.linalg.solve(L, plain.data.numpy().reshape(3, -1))
    assert np.allclose(white.data.numpy().reshape(3, -1), expected, atol=1e-4)
    assert white.noise_std == 1.0
    assert plain.noise_std != 1.0


def test_noise_of_a_conjugated_vendor_is_conjugated_too(build_scan):
    built = build_scan(coils=2, noise_lines=2, vendor="SIEMENS")
    found = load_scan(built.path).noise.numpy()
    assert np.allclose(found, built.noise.transpose(1, 0, 2).reshape(2, -1).conj())


def test_too_few_noise_samples_are_said_and_not_used(build_scan, caplog):
    scan = load_scan(build_scan(coils=8, noise_lines=1).path)
    problems = scan.problems(coil_maps=torch.ones(8, 1, 12, 16, dtype=torch.complex64))
    assert "64 noise samples do not determine the covariance of 8 coils" in caplog.text
    assert problems[0].noise_std != 1.0
    assert "not whitened" in problems.steps[0]


def test_oversampling_is_kept_on_request(build_scan):
    scan = load_scan(build_scan(oversampling=2).path)
    assert scan.problems()[0].shape == (1, 1, 1, 12, 16)
    assert scan.problems(keep_oversampling=True)[0].shape == (1, 1, 1, 12, 32)
    assert any("cut from (1, 12, 32) to (1, 12, 16)" in step for step in scan.problems().steps)


def test_voxel_size_does_not_change_with_the_cut(build_scan):
    scan = load_scan(build_scan(oversampling=2).path)
    for problems in (scan.problems(), scan.problems(keep_oversampling=True)):
        assert problems[0].geometry.voxel_size_m == pytest.approx((0.004, 0.0125, 0.0125))


def test_field_of_view_of_the_phase_encoding_stays_as_encoded(build_scan):
    def halve(xml):
        head, tail = xml.split("<reconSpace>")
        return head + "<reconSpace>" + tail.replace("<y>150</y>", "<y>75</y>", 1)

    problems = load_scan(build_scan(mend=halve).path).problems()
    assert problems[0].shape == (1, 1, 1, 12, 16)
    assert any("along y kept as encoded (150 mm, not 75 mm)" in step for step in problems.steps)


@pytest.mark.parametrize("matrix", [(1, 40, 32), (12, 20, 16)])
@pytest.mark.parametrize("kind", ["random", "regular"])
def test_undersampling_gives_the_reference(build_scan, matrix, kind):
    built = build_scan(matrix=matrix, coils=2)
    scan = load_scan(built.path)
    maps = torch.from_numpy(built.coil_maps)
    choice = Undersampling(acceleration=4, calibration_lines=4, kind=kind, seed=3)
    problem = scan.problems(coil_maps=maps, undersampling=choice)[0]
    assert np.abs(problem.reference[0, 0].numpy() - built.image[0, 0, 0, 0, 0]).max() < 1e-4
    acquired = problem.data.abs().sum(dim=(0, 1, 4)) > 0
    assert 0.2 < float(acquired.float().mean()) < 0.4
    full = scan.problems(coil_maps=maps)[0].data
    assert torch.equal(problem.data[..., acquired, :], full[..., acquired, :])
    (residual,) = problem.operator(problem.reference)
    assert (residual - problem.data).abs().max() < 1e-4
    again = scan.problems(coil_maps=maps, undersampling=choice)[0]
    assert torch.equal(again.data, problem.data)


def test_no_reference_from_incomplete_data(build_scan):
    built = build_scan(matrix=(1, 40, 32), keep=lambda row, _: row != 3)
    choice = Undersampling(acceleration=2, calibration_lines=8)
    problem = load_scan(built.path).problems(undersampling=choice)[0]
    assert problem.reference is None
    assert not bool((problem.data.abs().sum(dim=(0, 1, 2, 4)) > 0)[3])


def test_fewer_spokes():
    raw = RawKSpace(
        data=torch.arange(12.0).reshape(1, 1, 1, 12, 1).to(torch.complex64),
        trajectory=torch.arange(12.0).reshape(1, 1, 12, 1, 1).expand(1, 1, 12, 1, 3),
    )
    regular = fewer_readouts(raw, Undersampling(acceleration=3, kind="regular"))
    assert regular.data.real.flatten().tolist() == [0, 3, 6, 9]
    random = fewer_readouts(raw, Undersampling(acceleration=3, kind="random", seed=1))
    assert random.data.shape[-2] == 4
    assert torch.equal(random.data.real.flatten(), random.trajectory[..., 0].flatten())


@pytest.mark.parametrize("method", ["auto", "espirit", "walsh", "inati"])
def test_estimated_maps_explain_the_data(tmp_path, method):
    y, x = np.mgrid[-1:1:40j, -1:1:40j]
    object_ = 1.0 * (x**2 + y**2 < 0.4)
    coils = [np.exp(-0.4 * ((x - a) ** 2 + y**2) + 1j * a * x) for a in (-1, 0.3, 1)]
    np.save(tmp_path / "coils.npy", object_ * np.stack(coils))
    scan = load_scan(tmp_path / "coils.npy", axes="coil y x", image_space=True)
    problem = scan.problems(coil_maps=method)[0]
    (image,) = problem.operator.H(problem.data)
    (again,) = problem.operator(image)
    assert (again - problem.data).norm() < 0.05 * problem.data.norm()


def test_calibration_lines_serve_the_maps(build_scan, monkeypatch):
    built = build_scan(
        matrix=(1, 32, 16), coils=2, keep=lambda row, _: row % 2 == 0, calibration=range(8, 24)
    )
    seen = {}

    def spy(kspace, method, *, mask, calibration_width):
        seen.update(kspace=kspace, mask=mask)
        return torch.ones(1, 2, 1, 32, 16, dtype=torch.complex64)

    monkeypatch.setattr("lowfield_recon.scan.problems.estimate_coil_maps", spy)
    problem = load_scan(built.path).problems()[0]
    assert seen["mask"].flatten().nonzero().flatten().tolist() == list(range(8, 24))
    acquired = problem.data.abs().sum(dim=(0, 1, 2, 4)) > 0
    assert acquired.nonzero().flatten().tolist() == list(range(0, 32, 2))


def test_maps_for_each_slice(build_scan):
    built = build_scan(coils=2, slices=3, repetitions=2)
    scan = load_scan(built.path)
    maps = torch.stack([torch.from_numpy(built.coil_maps) * 1j**s for s in range(3)])
    problems = scan.problems(coil_maps=maps)
    for i, problem in enumerate(problems):
        (image,) = problem.operator.H(problem.data)
        expected = built.image.reshape(6, 1, 12, 16)[i] * (-1j) ** (i % 3)
        assert np.abs(image[0, 0].numpy() - expected).max() < 1e-4


@pytest.mark.parametrize(
    ("maps", "words"),
    [
        ("espirt", "Did you mean 'espirit'"),
        (torch.ones(3, 1, 12, 16, dtype=torch.complex64), r"expected complex \(2, z, y, x\)"),
        (torch.ones(2, 1, 12, 16), "got torch.float32"),
        (torch.ones(7, 2, 1, 12, 16, dtype=torch.complex64), "one of these for each slice"),
    ],
)
def test_maps_that_do_not_fit(build_scan, maps, words):
    with pytest.raises(UsageError, match=words):
        load_scan(build_scan(coils=2).path).problems(coil_maps=maps)


def test_maps_of_another_size(build_scan):
    problems = load_scan(build_scan(coils=2).path).problems(
        coil_maps=torch.ones(2, 1, 12, 32, dtype=torch.complex64)
    )
    with pytest.raises(UsageError, match=r"is \(1, 12, 32\), the image's is \(1, 12, 16\)"):
        problems[0]


def test_it_is_a_sequence(build_scan):
    problems = load_scan(build_scan(slices=4).path).problems()
    assert len(problems) == 4
    assert len(list(problems)) == 4
    assert torch.equal(problems[-1].data, problems[3].data)
    part = problems[1:3]
    assert len(part) == 2
    assert torch.equal(part[1].data, problems[2].data)
    with pytest.raises(IndexError):
        problems[4]


def test_only_the_readouts_of_one_image_are_read(build_scan, monkeypatch):
    scan = load_scan(build_scan(slices=5, slice_order=[0, 3, 1, 4, 2]).path)
    read = []
    original = ReadoutFile.blocks

    def spy(self, indices, n_coils, n_samples):
        read.extend(indices.tolist())
        return original(self, indices, n_coils, n_samples)

    monkeypatch.setattr(ReadoutFile, "blocks", spy)
    scan.problems()[1]
    assert read == list(range(3 * 12, 4 * 12))


def resident_bytes() -> int:
    with open("/proc/self/statm") as stream:  # noqa: PTH123
        return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_memory_does_not_grow_with_the_slices(build_scan, tmp_path):
    """200 slices of 128 KiB: working through them takes no more memory than 20 of them do."""
    small = build_scan(matrix=(1, 16, 256), coils=4, slices=20).path
    large = tmp_path / "large.h5"
    with h5py.File(small) as source, h5py.File(large, "w") as out:
        rows = source["dataset/data"][...]
        group = out.create_group("dataset")
        group["xml"] = source["dataset/xml"][...]
        stored = group.create_dataset("data", (10 * rows.size,), dtype=source["dataset/data"].dtype)
        for copy in range(10):
            rows["head"]["idx"]["slice"] += 20 * (copy > 0)
            rows["head"]["position"][:, 2] += 100.0 * (copy > 0)
            stored[copy * rows.size : (copy + 1) * rows.size] = rows
    maps = torch.ones(4, 1, 16, 256, dtype=torch.complex64) / 2
    peaks, growth = [], []
    for path, n_slices in ((small, 20), (large, 200)):
        problems = load_scan(path).problems(coil_maps=maps)
        assert len(problems) == n_slices
        problems[0]
        before = resident_bytes()
        tracemalloc.start()
        largest = before
        for problem in problems:
            assert problem.shape == (1, 1, 1, 16, 256)
            largest = max(largest, resident_bytes())
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        growth.append(largest - before)
    assert peaks[1] < 1.3 * peaks[0]
    assert growth[1] < growth[0] + 6e6  # the samples of 200 slices are 26 MB


def test_zero_filled_columns_leave_a_reference_and_partial_fourier_none():
    data = torch.ones(1, 2, 1, 20, 16, dtype=torch.complex64)
    padded = torch.ones(1, 1, 1, 20, 1, dtype=torch.bool)
    padded[..., :3, :] = padded[..., -2:, :] = False
    partial = torch.ones(1, 1, 1, 20, 1, dtype=torch.bool)
    partial[..., :6, :] = False
    holes = padded.clone()
    holes[..., 8, :] = False
    found = [is_complete(RawKSpace(data=data * m, mask=m)) for m in (padded, partial, holes)]
    assert found == [True, False, False]
