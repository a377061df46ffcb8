"""Scans with a known truth: what is simulated, what is added to recorded ones, and what is kept."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.evaluation.benchmark import quality_scans
from lowfield_recon.evaluation.benchmark.quality_gathering import (
    IMAGE_SAMPLE,
    RECORDED_SAMPLES,
    gather_scans,
    shipped_images,
)
from lowfield_recon.evaluation.benchmark.quality_methods import compared, reference_of
from lowfield_recon.evaluation.benchmark.quality_scans import (
    ScanPlan,
    _degraded,
    recorded_scans,
    simulated_scans,
)
from lowfield_recon.learning.image_set import ImageSet
from lowfield_recon.operators import kspace_operator
from lowfield_recon.operators.fourier import centred_fft
from lowfield_recon.problem import InverseProblem
from lowfield_recon.resources import sample_path
from lowfield_recon.scan import load_scan


def _image(seed: int, size=(65, 50)) -> torch.Tensor:
    image = torch.rand(size, generator=torch.Generator().manual_seed(seed)) + 0.5
    image[:10], image[:, -8:] = 0, 0
    return image


def _fft(image: np.ndarray) -> np.ndarray:
    shifted = np.fft.ifftshift(image, axes=(-2, -1))
    return np.fft.fftshift(np.fft.fft2(shifted, norm="ortho"), axes=(-2, -1))


def _ifft(kspace: np.ndarray) -> np.ndarray:
    shifted = np.fft.ifftshift(kspace, axes=(-2, -1))
    return np.fft.fftshift(np.fft.ifft2(shifted, norm="ortho"), axes=(-2, -1))


def test_a_simulated_scan_is_a_noisy_window_of_the_spectrum_of_its_reference():
    image = _image(0)
    (scan,) = simulated_scans(ImageSet(images={"a": (image,)}), ScanPlan(windows=(0.5,), snrs=(8,)))
    problem = scan.build()
    data, reference = problem.data[0, 0, 0].numpy(), problem.reference[0, 0, 0].numpy()
    assert data.shape == (64, 48)
    assert (data != 0).sum() == 32 * 24
    assert (data[16:48, 12:36] != 0).all()
    assert np.abs(reference) == pytest.approx(image[:64, 1:49].numpy(), abs=1e-5)
    error = (data - _fft(reference))[data != 0]
    assert np.sqrt(np.mean(np.abs(error) ** 2)) == pytest.approx(problem.noise_std, rel=0.1)
    inside = np.abs(reference)[np.abs(reference) > 0.1 * np.abs(reference).max()]
    assert inside.mean() / problem.noise_std == pytest.approx(8, rel=1e-4)


def test_every_scan_has_random_numbers_of_its_own_that_other_subjects_do_not_change():
    plan = ScanPlan(windows=(0.5, 0.7), snrs=(6, 12))
    one = simulated_scans(ImageSet(images={"b": (_image(1),)}), plan)
    two = simulated_scans(ImageSet(images={"a": (_image(1),), "b": (_image(1),)}), plan)
    assert len(one) == 4
    assert len(two) == 8
    assert {s.identity for s in one} == {s.identity for s in two if s.subject == "b"}
    phases = {tuple(s.build().reference[0, 0, 0, 30, 20:22].angle().tolist()) for s in two}
    assert len(phases) == 8
    again = {s.identity: s for s in two}[one[0].identity]
    assert torch.equal(again.build().data, one[0].build().data)
    other_seed = simulated_scans(ImageSet(images={"b": (_image(1),)}), ScanPlan(seed=1))
    assert not {s.identity for s in one} & {s.identity for s in other_seed}


def test_the_middle_slices_are_taken():
    slices = tuple(_image(seed) for seed in range(7))
    images = ImageSet(images={"a": slices})
    for count, expected in ((1, [3]), (2, [2, 3]), (3, [2, 3, 4]), (9, list(range(7)))):
        plan = ScanPlan(windows=(0.5,), snrs=(8,), slices=count)
        found = [scan.image for scan in simulated_scans(images, plan)]
        assert found == [f"a, slice {index}" for index in expected]


def test_a_recorded_scan_keeps_its_window_and_gets_the_stated_noise():
    path = sample_path("brain_0055t_t2w.h5")
    full = load_scan(path).problems()[2]
    plan = ScanPlan(windows=(0.7,), noise_factors=(3.0,))
    (scan,) = recorded_scans([path], plan)
    noisy = scan.build()
    kept = (noisy.data != 0)[0, 0, 0]
    rows, columns = kept.any(1).nonzero().flatten(), kept.any(0).nonzero().flatten()
    n_y, n_x = full.data.shape[-2:]
    assert (len(rows), len(columns)) == (round(0.7 * n_y), round(0.7 * n_x))
    assert int(rows[0]) == n_y // 2 - len(rows) // 2
    added = (noisy.data - full.data)[..., kept]
    level = float(added.abs().square().mean().sqrt())
    assert level == pytest.approx(np.sqrt(8) * full.noise_std, rel=0.03)
    assert noisy.noise_std == pytest.approx(3 * full.noise_std)
    # The reference lost an eighth of what the data gained.
    reference = centred_fft(noisy.reference, (-2, -1))
    lost = (full.data - reference)[..., kept]
    assert lost.numpy() == pytest.approx((added / 8).numpy(), abs=1e-4)


def test_the_noise_of_the_reference_is_not_that_of_the_data(tmp_path):
    """Of pure noise, data and reference are uncorrelated for every factor."""
    noise = torch.randn(64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.complex64)
    full = InverseProblem(
        data=noise[None, None, None],
        operator=kspace_operator(mask=torch.ones(1, 1, 1, 64, 64, dtype=torch.bool)),
        noise_std=1.0,
    )
    for factor in (1.5, 2.0, 4.0):
        problem = _degraded(full, 1.0, factor, 7)
        reference = centred_fft(problem.reference, (-2, -1))
        product = (problem.data.conj() * reference).mean()
        ratio = math.sqrt(factor**2 - 1)
        assert abs(product) < 4 * factor * math.sqrt(1 + 1 / ratio**2) / 64
        variance = float(reference.abs().square().mean())
        assert variance == pytest.approx(1 + 1 / ratio**2, rel=0.08)


def test_without_added_noise_there_is_no_reference():
    with pytest.raises(UsageError, match="factors above 1"):
        recorded_scans([sample_path("brain_0055t_t2w.h5")], ScanPlan(noise_factors=(1.0, 2.0)))


def test_a_crop_takes_the_middle_of_images_and_of_recorded_kspace():
    plan = ScanPlan(windows=(0.5,), snrs=(8,), noise_factors=(1.0001,), crop=32)
    (simulated,) = simulated_scans(ImageSet(images={"a": (_image(0),)}), plan)
    assert simulated.build().shape == (1, 1, 1, 32, 32)
    path = sample_path("brain_0055t_t2w.h5")
    (recorded,) = recorded_scans([path], plan)
    whole = load_scan(path).problems()[2]
    full, tolerance = whole.data, 0.1 * whole.noise_std
    problem = recorded.build()
    assert problem.shape == (1, 1, 1, 32, 32)
    y, x = full.shape[-2] // 2, full.shape[-1] // 2
    middle = full[..., y - 8 : y + 8, x - 8 : x + 8]
    assert problem.data[..., 8:24, 8:24].numpy() == pytest.approx(middle.numpy(), abs=tolerance)


def test_scans_of_several_coils_and_incomplete_scans_are_refused(monkeypatch):
    with pytest.raises(DataError, match="4 coils; expected slices of one coil"):
        recorded_scans([sample_path(IMAGE_SAMPLE)], ScanPlan())
    full = load_scan(sample_path("brain_0055t_t2w.h5")).problems()[2]
    data = full.data.clone()
    data[..., :10, :] = 0
    incomplete = dataclasses.replace(full, data=data)
    monkeypatch.setattr(quality_scans, "load_scan", lambda path: _OneScan(incomplete))
    with pytest.raises(DataError, match="8% of its samples are zero"):
        recorded_scans([sample_path("brain_0055t_t2w.h5")], ScanPlan())


class _OneScan:
    """A scan of one prepared problem."""

    def __init__(self, problem):
        self.problem = problem
        self.header = SimpleNamespace(n_coils=1)

    def problems(self):
        return [self.problem]


def test_what_is_given_takes_the_place_of_the_samples(tmp_path):
    np.save(tmp_path / "head.npy", _image(0).numpy())
    plan = ScanPlan(windows=(0.5,), snrs=(8,), noise_factors=(2.0,))
    scans = gather_scans([str(tmp_path / "head.npy")], plan)
    stems = [name.removesuffix(".h5") for name in RECORDED_SAMPLES]
    assert [(s.kind, s.subject) for s in scans] == [
        ("simulated", "head"),
        *(("recorded", stem) for stem in stems),
    ]
    scans = gather_scans([str(sample_path("brain_0055t_t2w.h5"))], plan)
    assert [(s.kind, s.subject) for s in scans] == [
        ("simulated", shipped_images().subjects[0]),
        ("recorded", "brain_0055t_t2w"),
    ]
    with pytest.raises(UsageError, match="at least 1"):
        gather_scans([], ScanPlan(slices=0))


def test_the_real_part_of_a_recorded_scan_is_that_along_the_phase_of_the_reference():
    (scan,) = recorded_scans(
        [sample_path("brain_0055t_t2w.h5")], ScanPlan(windows=(0.7,), noise_factors=(2.0,))
    )
    assert scan.view == "real part"
    problem = scan.build()
    reference = reference_of(problem, scan.view)
    # A constant phase of both changes nothing, of the image alone it does.
    turned = dataclasses.replace(problem, reference=1j * problem.reference)
    assert reference_of(turned, scan.view) == pytest.approx(reference, abs=1e-5)
    opposite = compared(-problem.reference, problem, scan.view)
    assert opposite == pytest.approx(-reference, abs=1e-12)
    # In the background the noise of the real part has mean zero, that of the magnitude has not.
    corner = (slice(0, 16), slice(0, 16))
    magnitude = reference_of(problem, "magnitude")
    assert abs(reference[corner].mean()) < 0.3 * magnitude[corner].mean()
