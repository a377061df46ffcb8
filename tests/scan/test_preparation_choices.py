"""What is done to a scan on request: compression, recentring, partial Fourier, intensity scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lowfield_recon.errors import UsageError
from lowfield_recon.operators.fourier import centred_ifft
from lowfield_recon.prepare import estimate_coil_maps
from lowfield_recon.reconstructors import create
from lowfield_recon.scan import CoilCompression, Undersampling, load_scan
from lowfield_recon.scan.kspace_checks import check_kspace
from lowfield_recon.scan.preparation import gridded


def image(problem) -> torch.Tensor:
    (found,) = problem.operator.H(problem.data)
    return found


def disc_scan(folder: Path, *, shift: float = 0.0, first_row: int = 0, noise: float = 0.02):
    """One coil, a disc with smooth phase; `shift` samples off along y, rows from `first_row`."""
    y, x = np.mgrid[-1:1:64j, -1:1:80j]
    disc = (x**2 + y**2 < 0.5) * (1 + 0.5 * (np.abs(x - 0.2) < 0.1)) * np.exp(0.6j * x * y)
    ramp = np.exp(2j * np.pi * shift / 64 * (np.arange(64) - 32))[:, None]
    k = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(disc * ramp), norm="ortho"))
    rng = np.random.default_rng(0)
    k += noise * (rng.normal(size=k.shape) + 1j * rng.normal(size=k.shape)) / np.sqrt(2)
    k[:first_row] = 0
    np.save(folder / "k.npy", k.astype(np.complex64))
    return load_scan(folder / "k.npy", axes="y x"), np.abs(disc)


@pytest.mark.parametrize("method", ["svd", "geometric"])
def test_all_virtual_coils_give_the_same_image(build_scan, method) -> None:
    built = build_scan(matrix=(1, 24, 32), coils=4, oversampling=2, noise_lines=20)
    scan, maps = load_scan(built.path), torch.from_numpy(built.coil_maps)
    whole = scan.problems(coil_maps=maps, prewhitening=False)[0]
    choice = CoilCompression(method=method, virtual_coils=4)
    same = scan.problems(coil_maps=maps, prewhitening=False, coil_compression=choice)[0]
    assert (image(same) - image(whole)).norm() < 1e-4 * image(whole).norm()
    few = CoilCompression(method=method, virtual_coils=2)
    problems = scan.problems(coil_maps=maps, coil_compression=few)
    assert problems[0].data.shape == (1, 2, 1, 24, 32)
    assert problems[0].noise_std == 1.0
    assert f"4 coils compressed to 2 ({method})" in problems.steps


def test_noise_is_white_after_whitening_and_compression(build_scan) -> None:
    """Noise readouts put in as the image: whitened and compressed they have variance 1."""
    built = build_scan(coils=4, noise_lines=200)
    scan = load_scan(built.path)
    maps = torch.ones(4, 1, 12, 16, dtype=torch.complex64) / 2
    choice = CoilCompression(virtual_coils=2)
    whole = scan.problems(coil_maps=maps)[0].data[0].flatten(1)
    few = scan.problems(coil_maps=maps, coil_compression=choice)[0].data[0].flatten(1)
    # the same subspace: rows of few are orthonormal combinations of the whitened coils
    A = few @ torch.linalg.pinv(whole)
    torch.testing.assert_close(A @ A.mH, torch.eye(2, dtype=A.dtype), atol=1e-3, rtol=0)


def test_calibration_lines_are_compressed_with_the_same_matrix(build_scan, monkeypatch) -> None:
    built = build_scan(
        matrix=(1, 32, 16), coils=4, keep=lambda row, _: row % 2 == 0, calibration=range(8, 24)
    )
    seen = {}

    def spy(kspace, method, *, mask, calibration_width):
        seen.update(kspace=kspace)
        return torch.ones(1, 2, 1, 32, 16, dtype=torch.complex64)

    monkeypatch.setattr("lowfield_recon.scan.problems.estimate_coil_maps", spy)
    choice = CoilCompression(virtual_coils=2)
    problem = load_scan(built.path).problems(coil_compression=choice)[0]
    both = range(8, 24, 2)  # rows that are calibration and image at once
    assert torch.equal(seen["kspace"][..., list(both), :], problem.data[..., list(both), :])
    assert seen["kspace"].shape[1] == 2


def test_recentring_moves_samples_and_says_so(tmp_path) -> None:
    scan, disc = disc_scan(tmp_path, shift=5.2)
    plain, moved = scan.problems(), scan.problems(recenter=True)
    assert "centre of k-space is off by 5.2 samples along k1" in plain.steps
    assert not any("moved" in step for step in plain.steps)
    assert "k-space moved by -5 samples along k1" in moved.steps
    assert torch.equal(moved[0].data, torch.roll(plain[0].data, -5, -2))
    for problems in (plain, moved):
        assert np.abs(image(problems[0]).abs()[0, 0, 0].numpy() - disc).mean() < 0.05


def test_the_mask_moves_with_the_samples(tmp_path) -> None:
    scan, _ = disc_scan(tmp_path, shift=4.0, first_row=12)
    problem = scan.problems(recenter=True)[0]
    (predicted,) = problem.operator(image(problem))
    rows = problem.data.abs().sum(dim=(0, 1, 2, 4)) > 0
    assert rows.nonzero().flatten().tolist() == list(range(8, 60))
    assert torch.equal(predicted.abs().sum(dim=(0, 1, 2, 4)) > 0, rows)


def test_a_centred_scan_is_left_alone(tmp_path) -> None:
    scan, _ = disc_scan(tmp_path)
    assert not any("centre" in step for step in scan.problems().steps)
    moved = scan.problems(recenter=True)
    assert "k-space is centred, not moved" in moved.steps
    assert torch.equal(moved[0].data, scan.problems()[0].data)


def test_centre_is_found_in_calibration_lines(build_scan) -> None:
    built = build_scan(
        matrix=(1, 48, 32), keep=lambda row, _: row % 3 == 0, calibration=range(12, 36)
    )
    checks = check_kspace(load_scan(built.path))
    assert checks.centre.offset[1] == pytest.approx(0, abs=0.3)


@pytest.mark.parametrize("method", ["homodyne", "pocs"])
def test_partial_fourier_is_filled_on_request(tmp_path, method) -> None:
    scan, disc = disc_scan(tmp_path, first_row=24)
    plain = scan.problems()[0]
    problems = scan.problems(partial_fourier=method)
    filled = problems[0]
    assert f"missing side of k-space filled by {method}" in problems.steps

    def error(problem):
        return np.linalg.norm(image(problem).abs()[0, 0, 0].numpy() - disc)

    assert error(filled) < 0.75 * error(plain)
    assert filled.noise_std == plain.noise_std
    assert not bool(plain.data[..., :24, :].any())
    if method == "pocs":
        assert torch.equal(filled.data[..., 24:, :], plain.data[..., 24:, :])
    (predicted,) = filled.operator(image(filled))
    assert (predicted - filled.data).norm() < 1e-4 * filled.data.norm()  # the mask knows the rows


def test_maps_of_a_partial_scan_do_not_see_what_was_filled(build_scan, monkeypatch) -> None:
    built = build_scan(matrix=(1, 48, 32), coils=2, first_row=12)
    seen = []

    def spy(kspace, method, *, mask, calibration_width):
        seen.append((kspace, mask))
        return torch.ones(1, 2, 1, 48, 32, dtype=torch.complex64)

    monkeypatch.setattr("lowfield_recon.scan.problems.estimate_coil_maps", spy)
    scan = load_scan(built.path)
    scan.problems()[0]
    assert scan.problems(partial_fourier="pocs")[0].data[..., 5, :].abs().max() > 0
    (k, mask), (same, same_mask) = seen
    assert torch.equal(k, same)
    assert torch.equal(mask, same_mask)


def test_intensity_scale_is_one_number_for_data_and_noise(tmp_path) -> None:
    scan, disc = disc_scan(tmp_path)
    choice = Undersampling(acceleration=2, calibration_lines=16)
    raw, unit = (
        scan.problems(intensity_scale=word, undersampling=choice) for word in ("raw", "unit")
    )
    assert raw.scale == 1.0
    for name in ("data", "reference"):
        torch.testing.assert_close(getattr(unit[0], name) * unit.scale, getattr(raw[0], name))
    assert unit[0].noise_std * unit.scale == pytest.approx(raw[0].noise_std)
    full = scan.problems(intensity_scale="unit")
    assert full.scale == pytest.approx(disc.max(), rel=0.2)
    assert f"data divided by {full.scale:.6g}" in full.steps
    assert float(image(full[0]).abs().max()) == pytest.approx(1.0, abs=0.2)


def test_scale_is_that_of_the_image_for_any_scaling_of_given_maps(build_scan) -> None:
    built = build_scan(coils=3, noise_lines=20)
    scan, maps = load_scan(built.path), torch.from_numpy(built.coil_maps)
    for factor in (1.0, 0.01):
        problems = scan.problems(
            coil_maps=factor * maps, prewhitening=False, intensity_scale="unit"
        )
        truth = np.abs(built.image).max() / factor
        assert problems.scale == pytest.approx(truth, rel=0.05)


def test_scale_does_not_depend_on_samples_that_were_left_out(tmp_path) -> None:
    """Otherwise it would look at the reference."""
    scan, _ = disc_scan(tmp_path)
    choice = Undersampling(acceleration=2, calibration_lines=16)
    kept = scan.problems(undersampling=choice)[0].data.abs().sum(dim=-1, keepdim=True) > 0
    k = np.load(tmp_path / "k.npy")
    k[~kept[0, 0, 0, :, 0].numpy()] *= 7
    np.save(tmp_path / "other.npy", k)
    other = load_scan(tmp_path / "other.npy", axes="y x")
    scales = [s.problems(undersampling=choice, intensity_scale="unit").scale for s in (scan, other)]
    assert scales[0] == scales[1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"partial_fourier": "pcos"}, "Did you mean 'pocs'"),
        ({"intensity_scale": "units"}, "Did you mean 'unit'"),
        (
            {"partial_fourier": "pocs", "undersampling": Undersampling(acceleration=2)},
            "does not go with samples that are left out",
        ),
    ],
)
def test_choices_that_do_not_exist(tmp_path, options, words) -> None:
    with pytest.raises(UsageError, match=words):
        disc_scan(tmp_path)[0].problems(**options)


@pytest.mark.shared_data
def test_real_radial_heart_from_six_of_twelve_coils(shared_data) -> None:
    """Six hold 91 % of the energy, eight 96 %; the other steps say that they pass."""
    scan = load_scan(
        shared_data / "gpunufft_demo" / "radial_cardiac_25_projections.mat",
        axes="x y coil",
        key="rawdata",
        trajectory_key="k",
    )
    raw = scan.kspace(0)
    maps = estimate_coil_maps(gridded(raw.data, raw.trajectory, (1, 256, 256)), "walsh")
    whole = scan.problems(coil_maps=maps)
    few = scan.problems(
        coil_maps=maps,
        coil_compression=CoilCompression(virtual_coils=6),
        intensity_scale="unit",
        recenter=True,
        partial_fourier="pocs",
    )
    eight = scan.problems(coil_maps=maps, coil_compression=CoilCompression(virtual_coils=8))
    assert few[0].data.shape == (1, 6, 1, 25, 256)
    assert "k-space not recentred, since the scan has a trajectory" in few.steps
    assert "no pocs, since the scan has a trajectory" in few.steps
    method = create("cg-sense", {"iterations": 5, "regularization_weight": 0.0, "tolerance": 0})
    a, b, c = (method.reconstruct(problems[0]).image.abs() for problems in (whole, few, eight))
    heart = a > 0.2 * a.max()
    assert float((a - b * few.scale)[heart].norm() / a[heart].norm()) < 0.15
    assert float((a - c)[heart].norm() / a[heart].norm()) < 0.05
    assert 0.3 < float(b[heart].max()) < 3
    choice = CoilCompression(method="geometric")
    with pytest.raises(UsageError, match="needs complete readouts on a Cartesian grid"):
        scan.problems(coil_maps=maps, coil_compression=choice)[0]


@pytest.mark.shared_data
def test_real_siemens_phantom_from_six_of_fourteen_coils(shared_data) -> None:
    """Three-fold acceleration with calibration lines of its own, whitened."""
    (path,) = (shared_data / "gadgetron_onlineclass_snr_r3").glob("*.h5")
    scan = load_scan(path)
    choices = [None, *(CoilCompression(method=m, virtual_coils=6) for m in ("svd", "geometric"))]
    solver = create("cg-sense", {"iterations": 10, "regularization_weight": 1e-3, "tolerance": 0})
    a, *others = (
        solver.reconstruct(scan.problems(coil_compression=choice)[0]).image.abs()
        for choice in choices
    )
    bottles = a > 0.2 * a.max()
    for b in others:
        assert float((a - b)[bottles].norm() / a[bottles].norm()) < 0.05


@pytest.mark.shared_data
def test_real_brain_with_five_eighths_of_its_lines(shared_data, tmp_path) -> None:
    """In-vivo coil images: POCS and homodyne come nearer to all lines than zeros do."""
    scan = load_scan(
        shared_data / "gpunufft_demo" / "img_brain_4ch.mat", axes="y x coil", image_space=True
    )
    k = scan.kspace(0).data
    partial = k.clone()
    partial[..., :96, :] = 0
    np.save(tmp_path / "k.npy", partial[0, :, 0].numpy())
    small = load_scan(tmp_path / "k.npy", axes="coil y x")
    true = torch.linalg.vector_norm(centred_ifft(k, (-2, -1)), dim=1)
    maps = torch.ones(4, 1, 256, 256, dtype=torch.complex64) / 2

    def error(name: str) -> float:
        found = small.problems(coil_maps=maps, partial_fourier=name)[0].data
        rss = torch.linalg.vector_norm(centred_ifft(found, (-2, -1)), dim=1)
        return float((rss - true).norm() / true.norm())

    errors = {name: error(name) for name in ("zero-filled", "homodyne", "pocs")}
    assert errors["pocs"] < 0.8 * errors["zero-filled"]
    assert errors["homodyne"] < errors["zero-filled"]
