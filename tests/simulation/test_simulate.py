"""The whole simulation: the noise-free model, its random parts, its sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.operators import kspace_operator
from lowfield_recon.operators.fourier import centred_fft, centred_ifft
from lowfield_recon.simulation import Recipe, simulate_kspace


def picture(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) + 0.1


@pytest.mark.parametrize("size", [(1, 12, 15), (5, 8, 9)])
@pytest.mark.parametrize("n_coils", [1, 3])
def test_without_noise_it_is_the_forward_operator(size, n_coils) -> None:
    recipe = Recipe(
        n_coils=n_coils, phase_rad=1.0, mask="random", acceleration=2, calibration_lines=2
    )
    scan = simulate_kspace(picture(2, 1, *size), recipe)
    A = kspace_operator(mask=scan.mask, coil_maps=scan.coil_maps, image_shape=size)
    (expected,) = A(scan.image)
    torch.testing.assert_close(scan.kspace, expected, atol=2e-6, rtol=0)
    assert torch.equal(scan.kspace, scan.signal)
    assert not scan.kspace[~scan.mask.expand_as(scan.kspace)].any()


def test_slices_are_transformed_in_their_plane_only() -> None:
    x = picture(1, 1, 4, 8, 10)
    scan = simulate_kspace(x, Recipe(encoding="slices"))
    torch.testing.assert_close(scan.kspace, centred_fft(x.to(torch.complex64), (-2, -1)))


def test_the_phase_is_smooth_bounded_and_of_the_object() -> None:
    x = picture(1, 1, 1, 32, 32)
    scan = simulate_kspace(x, Recipe(phase_rad=2.5, phase_order=3))
    torch.testing.assert_close(scan.image.abs(), x)
    angle = (scan.image / x).angle()
    assert float(angle.abs().max()) == pytest.approx(2.5, rel=1e-5)
    assert float(angle.diff(dim=-1).abs().max()) < 1.2


def test_a_complex_image_keeps_its_own_phase() -> None:
    x = torch.polar(picture(1, 1, 1, 8, 8), picture(1, 1, 1, 8, 8, seed=1))
    assert torch.equal(simulate_kspace(x, Recipe()).image, x)


@pytest.mark.parametrize("matrix", [(1, 12, 9), (1, 7, 16)])
def test_a_coarser_matrix_keeps_intensity_and_place(matrix) -> None:
    n_y, n_x = 16, 18
    y, x = np.meshgrid(np.arange(n_y) - 8, np.arange(n_x) - 9, indexing="ij")
    # one slow wave, which every matrix here resolves
    image = 2 + np.cos(2 * np.pi * (y / n_y + 2 * x / n_x))
    scan = simulate_kspace(
        torch.from_numpy(image.astype(np.float32))[None, None, None], Recipe(matrix=matrix)
    )
    m_y, m_x = matrix[1:]
    y, x = np.meshgrid(np.arange(m_y) - m_y // 2, np.arange(m_x) - m_x // 2, indexing="ij")
    expected = 2 + np.cos(2 * np.pi * (y / m_y + 2 * x / m_x))
    np.testing.assert_allclose(scan.image[0, 0, 0].numpy(), expected, atol=1e-5)
    found = centred_ifft(scan.kspace, (-2, -1))[0, 0, 0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_same_seed_gives_the_same_scan_and_effects_do_not_mix() -> None:
    x = picture(1, 1, 1, 16, 16)
    full = {"snr": 10, "phase_rad": 1, "interference_hz": (1000.0,), "n_coils": 2, "seed": 4}
    first, second = (simulate_kspace(x, Recipe(**full)) for _ in range(2))
    assert torch.equal(first.kspace, second.kspace)
    other = simulate_kspace(x, Recipe(**{**full, "seed": 5}))
    assert not torch.allclose(first.kspace, other.kspace)
    quiet = simulate_kspace(x, Recipe(**{**full, "interference_hz": ()}))
    noisy = simulate_kspace(x, Recipe(**{**full, "snr": None}))
    torch.testing.assert_close(first.image, quiet.image)
    total = (quiet.kspace - quiet.signal) + (noisy.kspace - noisy.signal)
    torch.testing.assert_close(first.kspace - first.signal, total, atol=1e-5, rtol=0)


def test_a_generator_takes_the_place_of_the_seed() -> None:
    x, recipe = picture(3, 1, 1, 8, 8), Recipe(snr=5)
    generator = torch.Generator().manual_seed(0)
    first, second = (simulate_kspace(x, recipe, generator=generator) for _ in range(2))
    again = simulate_kspace(x, recipe, generator=torch.Generator().manual_seed(0))
    assert torch.equal(first.kspace, again.kspace)
    assert not torch.equal(first.kspace, second.kspace)
    noise = first.kspace - first.signal
    assert not torch.equal(noise[0], noise[1])
    before = torch.get_rng_state()
    simulate_kspace(x, recipe)
    assert torch.equal(before, torch.get_rng_state())


def test_interference_stands_in_its_column_of_the_image() -> None:
    n, dwell = 64, 2e-5
    x = torch.zeros(1, 1, 1, 64, n)
    x[..., 20:44, 20:44] = 1
    recipe = Recipe(
        interference_hz=(10 / (n * dwell),), interference_amplitude=0.5, dwell_time_s=dwell
    )
    scan = simulate_kspace(x, recipe)
    lines = centred_ifft(scan.kspace - scan.signal, (-2, -1)).abs().square().sum(dim=(0, 1, 2, 3))
    assert int(lines.argmax()) == 32 + 10
    assert float(lines.max() / lines.sum()) > 0.999
    rms = (scan.kspace - scan.signal).abs().square().mean().sqrt()
    assert float(rms) == pytest.approx(0.5, rel=0.2)  # 64 draws


def test_nothing_is_recorded_where_nothing_is_sampled() -> None:
    recipe = Recipe(
        n_coils=2, snr=5, interference_hz=(900.0,), window=0.5, off_resonance_hz=50,
        mask="random", acceleration=2, calibration_lines=4,
    )  # fmt: skip
    scan = simulate_kspace(picture(1, 1, 1, 32, 32), recipe)
    assert not scan.kspace[~scan.mask.expand_as(scan.kspace)].any()
    assert bool((scan.kspace[scan.mask.expand_as(scan.kspace)] != 0).all())


def test_a_given_map_moves_a_point() -> None:
    n, dwell = 32, 1e-4
    x = torch.zeros(1, 1, 1, 8, n)
    x[..., 4, 10] = 1
    recipe = Recipe(dwell_time_s=dwell, mask="full")
    scan = simulate_kspace(x, recipe, off_resonance_hz=torch.full((1, 8, n), 4 / (n * dwell)))
    found = centred_ifft(scan.kspace, (-2, -1)).abs()[0, 0, 0]
    assert divmod(int(found.argmax()), n) == (4, 14)
    assert float(found.max()) == pytest.approx(1, abs=1e-5)


def test_the_random_map_reaches_its_largest_value() -> None:
    scan = simulate_kspace(picture(1, 1, 1, 8, 8), Recipe(off_resonance_hz=120))
    assert float(scan.off_resonance_hz.abs().max()) == pytest.approx(120)


def test_the_noise_readout_has_the_noise_of_the_scan() -> None:
    recipe = Recipe(n_coils=4, noise_std=0.3, noise_samples=20000)
    noise = simulate_kspace(picture(1, 1, 1, 8, 8), recipe).noise
    assert noise.shape == (4, 20000)
    covariance = (noise @ noise.conj().T / 20000).numpy()
    np.testing.assert_allclose(covariance, 0.09 * np.eye(4), atol=0.02 * 0.09 * 2)


@pytest.mark.parametrize(
    ("shape", "settings", "error", "text"),
    [
        ((4, 4), {}, DataError, "expected (*other, 1, z, y, x)"),
        ((1, 3, 1, 4, 4), {}, DataError, "combine channels"),
        ((1, 1, 1, 4, 4), {"matrix": (1, 5, 4)}, UsageError, "at most the image's size"),
        (
            (1, 1, 3, 4, 4),
            {"matrix": (2, 4, 4), "encoding": "slices"},
            UsageError,
            "all its slices",
        ),
        ((1, 1, 1, 4, 4), {"snr": 3, "noise_std": 1}, UsageError, "keep one"),
    ],
)
def test_what_does_not_fit_is_refused(shape, settings, error, text) -> None:
    with pytest.raises(error) as caught:
        simulate_kspace(torch.ones(shape), Recipe(**settings))
    assert text in str(caught.value)


def test_nan_is_refused_and_levels_of_their_own_have_no_noise_readout() -> None:
    with pytest.raises(DataError, match="NaN"):
        simulate_kspace(torch.full((1, 1, 1, 2, 2), torch.nan), Recipe())
    with pytest.raises(UsageError, match="together=True"):
        simulate_kspace(picture(2, 1, 1, 4, 4), Recipe(snr=3, noise_samples=10), together=False)


EFFECTS = {
    "phase": {"phase_rad": 1.0},
    "off-resonance": {"off_resonance_hz": 100.0},
    "bias-field": {"bias_field": 0.4},
    "motion": {"motion_m": 2e-3, "motion_rad": 0.1},
    "spikes": {"spike_fraction": 0.05},
    "interference": {"interference_hz": (1000.0,)},
    "mask": {"mask": "random", "acceleration": 2, "calibration_lines": 2},
}


@pytest.mark.parametrize("name", EFFECTS)
def test_no_effect_changes_the_noise_of_another(name) -> None:
    """The noise is drawn alike whatever else happens, at each point that is sampled."""
    x = picture(1, 1, 1, 16, 16)
    plain, other = ({**base, "seed": 2, "noise_std": 0.5} for base in ({}, EFFECTS[name]))
    noise = []
    for settings in (plain, other):
        noisy = simulate_kspace(x, Recipe(**settings))
        quiet = simulate_kspace(x, Recipe(**{**settings, "noise_std": None}))
        noise.append((noisy.kspace - quiet.kspace) * noisy.mask)
    torch.testing.assert_close(noise[0] * noisy.mask, noise[1], atol=2e-6, rtol=0)
    assert not torch.equal(*(simulate_kspace(x, Recipe(**s)).kspace for s in (plain, other)))


def test_levels_of_zero_change_no_bit() -> None:
    x = picture(1, 1, 1, 16, 16)
    base = {"seed": 2, "snr": 10, "phase_rad": 1.0, "n_coils": 2}
    none = {"bias_field": 0.0, "motion_m": 0.0, "motion_rad": 0.0, "spike_fraction": 0.0}
    without = simulate_kspace(x, Recipe(**base))
    with_none = simulate_kspace(x, Recipe(**base, **none, gain=1.0, motion_shots=5))
    assert torch.equal(without.kspace, with_none.kspace)
    assert torch.equal(without.image, with_none.image)


def test_the_gain_multiplies_all_that_is_recorded() -> None:
    x = picture(1, 1, 1, 16, 16)
    settings = {"seed": 2, "snr": 10, "noise_samples": 64, "spike_fraction": 0.01}
    one = simulate_kspace(x, Recipe(**settings))
    four = simulate_kspace(x, Recipe(**settings, gain=4.0))  # a power of two is exact
    for name in ("kspace", "signal", "noise_std", "image", "noise"):
        assert torch.equal(getattr(four, name), 4 * getattr(one, name)), name
    assert torch.equal(four.coil_maps, one.coil_maps)
