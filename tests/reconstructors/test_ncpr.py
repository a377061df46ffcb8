"""`ncpr` and `cpr` as users call them: rules, scales, parts, and problems of every kind."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

from lowfield_recon import InverseProblem, load_scan, methods, reconstruct
from lowfield_recon.learning.patch_prior import load_patch_prior
from lowfield_recon.learning.weight_files import SHIPPED
from lowfield_recon.operators import (
    blur_operator,
    downsample_operator,
    identity_operator,
    kspace_operator,
    mask_operator,
)
from lowfield_recon.resources import sample_path
from lowfield_recon.solvers.patch_problem import PatchProblem
from lowfield_recon.solvers.patch_solver import solve_patches

BOTH = pytest.mark.parametrize("method", ["ncpr", "cpr"])


@pytest.fixture(scope="module")
def scan() -> InverseProblem:
    """Half of the lines of the middle of k-space of one slice at 0.055 T, 72 x 80."""
    full = load_scan(sample_path("brain_0055t_t2w.h5")).problems()[1]
    y, x = (n // 2 for n in full.data.shape[-2:])
    data = full.data[..., y - 36 : y + 36, x - 40 : x + 40]
    mask = torch.zeros(1, 1, 1, 72, 1, dtype=torch.bool)
    mask[..., ::3, :] = True
    mask[..., 28:44, :] = True
    return InverseProblem(
        data=data * mask,
        operator=kspace_operator(mask=mask, image_shape=(1, 72, 80)),
        noise_std=full.noise_std,
    )


@pytest.fixture(scope="module")
def photograph() -> torch.Tensor:
    """Part of a photograph, 72 x 64, grey scale 0..1."""
    with Image.open(sample_path("camera.png")) as image:
        pixels = pil_to_tensor(image.convert("L")).float() / 255
    return pixels[None, :, None, 60:132, 200:264].contiguous()


def _noisy(photograph: torch.Tensor, noise_std: float) -> InverseProblem:
    noise = torch.randn(photograph.shape, generator=torch.Generator().manual_seed(0))
    return InverseProblem(
        data=photograph + noise_std * noise,
        operator=identity_operator(),
        noise_std=noise_std,
        image_domain="real",
    )


def _differ(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(a - b) / torch.linalg.vector_norm(a))


def _error(image: torch.Tensor, truth: torch.Tensor) -> float:
    return float((image - truth).square().mean().sqrt())


@BOTH
def test_a_reconstruction_is_what_the_solver_gives_by_hand(scan, method):
    settings = {"beta": 0.04, "regularization_weight": 2e-3, "scale": 7.0, "iterations": 12}
    result = reconstruct(scan, method, weights=f"{method}_sigma25", **settings)
    prior = load_patch_prior(f"{method}_sigma25", method=method)
    (back,) = scan.operator.H(scan.data)
    mask = (scan.data != 0)[0, 0, 0].any(dim=-1, keepdim=True)

    def misfit(x: torch.Tensor) -> float:
        (predicted,) = scan.operator(x[None, None])
        return 0.5 * float((predicted - scan.data / 7).abs().square().sum())

    by_hand = solve_patches(
        PatchProblem(
            regularizer=prior.regularizer(beta=0.04, base_scale=2e-3),
            rhs=back[0, 0] / 7,
            gram=lambda x: scan.operator.gram(x[None, None])[0][0, 0],
            eigenvalues=torch.fft.ifftshift(mask, dim=(0,)).float().expand(1, 72, 80),
            is_exact=True,
            misfit=misfit,
            lipschitz=1.0,
        ),
        iterations=12,
    )
    assert _differ(by_hand.image[None, None] * 7, result.image) <= 1e-5
    assert result.diagnostics["objective"][-1] == pytest.approx(
        49 * by_hand.objective[-1], rel=1e-4
    )


@BOTH
def test_the_same_call_gives_the_same_bits(scan, method):
    first, second = (reconstruct(scan, method, iterations=4) for _ in range(2))
    assert torch.equal(first.image, second.image)
    assert first.diagnostics["objective"] == second.diagnostics["objective"]


@BOTH
def test_the_unit_of_a_scan_does_not_matter(scan, method):
    small = dataclasses.replace(scan, data=1e-6 * scan.data, noise_std=1e-6 * scan.noise_std)
    one, other = (reconstruct(problem, method, iterations=10) for problem in (scan, small))
    assert _differ(1e-6 * one.image, other.image) <= 1e-5
    assert other.diagnostics["objective"][-1] == pytest.approx(
        1e-12 * one.diagnostics["objective"][-1], rel=1e-4
    )


@BOTH
@pytest.mark.parametrize("factor", [1e30, 1e-30])
def test_values_whose_squares_float32_cannot_hold_are_no_obstacle(scan, method, factor):
    far = dataclasses.replace(scan, data=factor * scan.data, noise_std=factor * scan.noise_std)
    one, other = (reconstruct(problem, method, iterations=3) for problem in (scan, far))
    assert _differ(one.image, other.image / factor) <= 1e-4


@BOTH
def test_the_diagnostics_say_what_was_done_and_why(scan, method):
    result = reconstruct(scan, method, iterations=10)
    said = result.diagnostics
    assert len(said["objective"]) >= 1
    assert said["iterations"] == 10
    assert len(said["residual"]) == 10
    assert said["stopping_reason"] == "iterations"
    assert (said["noise_std"], said["noise_source"]) == (scan.noise_std, "given")
    # Undersampled and complex: 0.7 of the level, but no less than 0.01.
    ratio = max(0.7 * said["relative_noise"], 0.01) * 255 / 25
    assert f"noise ratio {ratio:.4g}" in said["strength_rule"]
    prior = load_patch_prior(f"{method}_sigma25", method=method)
    assert result.settings["weights"] == f"{method}_sigma25"
    assert result.settings["beta"] == pytest.approx(prior.regularizer().beta * ratio**2, rel=1e-5)
    assert result.settings["regularization_weight"] == pytest.approx(
        prior.settings.base_scale * ratio, rel=1e-5
    )


def test_what_is_given_or_published_comes_before_the_noise(scan):
    given = reconstruct(
        scan, "ncpr", weights="ncpr_sigma5", beta=0.1, regularization_weight=1e-3, iterations=1
    )
    assert given.diagnostics["strength_rule"] == "given"
    assert (given.settings["beta"], given.settings["weights"]) == (0.1, "ncpr_sigma5")
    tuned = reconstruct(scan, "cpr", preset="mri-8x-pd", iterations=1)
    assert tuned.diagnostics["strength_rule"] == "published optimum 'mri-8x-pd'"
    assert (tuned.settings["beta"], tuned.settings["regularization_weight"]) == (
        0.480868,
        2.72627e-4,
    )
    both = reconstruct(scan, "cpr", preset="mri-8x-pd", beta=0.3, iterations=1)
    assert (both.settings["beta"], both.settings["regularization_weight"]) == (0.3, 2.72627e-4)


@BOTH
def test_the_parts_sum_to_the_image_and_the_smooth_one_solves_its_equation(photograph, method):
    noisy = _noisy(photograph, 25 / 255)
    result = reconstruct(noisy, method, iterations=20, keep_parts=True)
    smooth, sparse = result.diagnostics["smooth_part"], result.diagnostics["sparse_part"]
    assert smooth.shape == result.image.shape
    assert _differ(result.image, smooth + sparse) <= 1e-6
    beta, weights = result.settings["beta"], result.settings["weights"]
    basis = load_patch_prior(weights, method=method).regularizer(dtype=torch.float64).basis
    response = torch.fft.fft2(basis, s=photograph.shape[-2:]).abs().square().sum(0)
    rough = torch.fft.ifft2(response * torch.fft.fft2(smooth.double())).real
    assert _differ(noisy.data.double(), smooth + beta * rough) <= 1e-5
    assert 1e-3 < float(sparse.norm() / smooth.norm()) < 1
    assert "smooth_part" not in reconstruct(noisy, method, iterations=1).diagnostics


@pytest.mark.parametrize(("method", "level"), [("ncpr", 5), ("cpr", 5), ("ncpr", 25)])
def test_denoising_by_the_noise_rule_beats_total_variation(photograph, method, level):
    noisy = _noisy(photograph, level / 255)
    result = reconstruct(noisy, method, iterations=60)
    assert result.settings["weights"] == f"{method}_sigma{level}"
    other = reconstruct(noisy, "tv").image
    assert _error(result.image, photograph) < 0.99 * _error(other, photograph)


@BOTH
@pytest.mark.parametrize("task", ["mask", "blur", "super-resolution"])
def test_photographs_come_nearer_to_the_original(photograph, method, task):
    generator = torch.Generator().manual_seed(0)
    if task == "mask":
        operator = mask_operator(torch.rand(photograph.shape, generator=generator) < 0.5)
    elif task == "blur":
        operator = blur_operator(torch.ones(3, 3) / 9, image_shape=photograph.shape)
    else:
        blur = blur_operator(torch.ones(3, 3) / 9, image_shape=photograph.shape)
        operator = downsample_operator(2, image_shape=photograph.shape) @ blur
    (data,) = operator(photograph)
    data = data + 0.01 * torch.randn(data.shape, generator=generator)
    if task == "mask":
        data = operator(data)[0]
    problem = InverseProblem(data=data, operator=operator, noise_std=0.01, image_domain="real")
    result = reconstruct(problem, method, iterations=30)
    assert result.image.dtype == torch.float32
    poor = reconstruct(problem, "cg-sense").image
    assert _error(result.image, photograph) < 0.9 * _error(poor, photograph)


def test_the_three_solvers_find_the_convex_optimum(photograph):
    noisy = _noisy(photograph[..., :26, :26], 5 / 255)
    found = [
        reconstruct(noisy, "cpr", solver=solver, iterations=n, tolerance=0.0)
        for solver, n in (("accelerated", 100), ("ipalm", 150), ("palm", 500))
    ]
    objectives = [result.diagnostics["objective"][-1] for result in found]
    assert max(objectives) <= min(objectives) * 1.003
    assert all(_differ(found[0].image, other.image) < 2e-3 for other in found[1:])
    falls = torch.tensor(found[2].diagnostics["objective"], dtype=torch.float64).diff()
    assert bool((falls <= 1e-6 * objectives[2]).all())


@BOTH
def test_a_volume_without_coupling_is_its_planes(photograph, method):
    """Planes coupled by a Fourier transform along z that changes nothing, against one by one."""
    planes = torch.cat([photograph[..., i : i + 24, i : i + 26] for i in (0, 20, 38)], dim=2)
    mask = torch.ones(1, 1, 3, 24, 1, dtype=torch.bool)
    volume = kspace_operator(mask=mask, image_shape=(3, 24, 26))
    generator = torch.Generator().manual_seed(0)
    images = planes + 0.05 * torch.randn(planes.shape, dtype=torch.complex64, generator=generator)
    settings = {"beta": 1.0, "regularization_weight": 0.01, "scale": 1.0, "iterations": 20}
    settings |= {"weights": f"{method}_sigma25", "tolerance": 0.0}
    together = reconstruct(
        InverseProblem(data=volume(images)[0], operator=volume), method, **settings
    )
    flat = kspace_operator(mask=mask[:, :, :1], image_shape=(1, 24, 26))
    for z in range(3):
        (data,) = flat(images[:, :, z : z + 1])
        alone = reconstruct(InverseProblem(data=data, operator=flat), method, **settings)
        assert _differ(alone.image, together.image[:, :, z : z + 1]) <= 1e-4


@BOTH
def test_odd_sides_keep_their_size_and_say_what_was_added(photograph, method):
    odd = photograph[..., :41, :39]
    result = reconstruct(_noisy(odd, 0.1), method, iterations=30)
    assert result.image.shape == odd.shape
    even = "1 row and 1 column added, since groups of 2 x 2 pixels need even sides"
    assert result.diagnostics.get("padding") == (even if method == "cpr" else None)
    assert _error(result.image, odd) < 0.07


@BOTH
def test_a_margin_is_taken_off_again_and_said(photograph, method):
    small = photograph[..., :40, :40]
    result = reconstruct(_noisy(small, 0.1), method, iterations=20, margin=12)
    assert result.image.shape == small.shape
    assert result.diagnostics["padding"] == ("24 rows and 24 columns added, a margin of 12 pixels")
    assert _error(result.image, small) < 0.07


@BOTH
def test_a_nonnegative_image_of_kspace_is_real_and_nonnegative(scan, method):
    problem = dataclasses.replace(scan, image_domain="nonnegative")
    result = reconstruct(problem, method, preset="mri-8x-pd", iterations=10)
    assert result.image.dtype == torch.float32
    assert float(result.image.min()) == 0
    assert float(result.image.max()) > 0


@BOTH
def test_float64_stays_and_agrees_with_float32(photograph, method):
    noisy = _noisy(photograph, 0.1)
    exact = dataclasses.replace(noisy, data=noisy.data.double())
    one, two = (reconstruct(problem, method, iterations=10) for problem in (noisy, exact))
    assert two.image.dtype == torch.float64
    assert _differ(two.image, one.image.double()) <= 1e-4


@BOTH
def test_a_photograph_on_another_grey_scale_is_denoised_as_well(photograph, method):
    photograph = photograph[..., :48, :48]
    noisy = _noisy(photograph, 0.1)
    levels = dataclasses.replace(noisy, data=255 * noisy.data, noise_std=25.5)
    one = reconstruct(noisy, method, iterations=15)
    other = reconstruct(levels, method, iterations=15)
    assert (one.settings["scale"], 150 < other.settings["scale"] < 400) == (1.0, True)
    assert _error(other.image / 255, photograph) < 1.1 * _error(one.image, photograph)
    told = reconstruct(levels, method, iterations=15, scale=255.0)
    assert _differ(255 * one.image, told.image) <= 1e-5


@BOTH
def test_an_image_without_noise_or_content_comes_back(method):
    for level in (0.0, 0.5):
        flat = torch.full((1, 1, 1, 20, 20), level)
        problem = InverseProblem(data=flat, operator=identity_operator(), image_domain="real")
        assert torch.allclose(reconstruct(problem, method, iterations=10).image, flat, atol=1e-6)


@BOTH
def test_a_spent_budget_returns_an_image(scan, method):
    result = reconstruct(scan, method, budget=1e-6)
    assert result.diagnostics["stopping_reason"] == "budget"
    assert result.image.shape == scan.shape
    assert bool(torch.isfinite(result.image).all())


def test_the_reference_is_not_looked_at(scan):
    seen = dataclasses.replace(scan, reference=torch.randn(scan.shape) + 0j)
    one, other = (reconstruct(problem, "ncpr", iterations=2) for problem in (scan, seen))
    assert torch.equal(one.image, other.image)


@BOTH
def test_the_table_of_methods_says_what_it_takes(method):
    (info,) = [info for info in methods() if info.name == method]
    assert "13 x 13" in info.takes
    assert "weights" in info.needs
    assert {"weights", "preset", "beta", "regularization_weight", "solver"} <= set(info.settings)


def _raised(problem: InverseProblem, **settings: object) -> str:
    with pytest.raises((ValueError, RuntimeError)) as caught:
        reconstruct(problem, str(settings.pop("method", "ncpr")), **settings)
    text = str(caught.value)
    assert "\n" not in text
    return f"{type(caught.value).__name__}: {text}"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"beta": 0}, "UsageError: ncpr: beta = 0: input should be greater than 0"),
        ({"beta": -1.0}, "UsageError: ncpr: beta = -1.0"),
        ({"regularization_weight": float("nan")}, "UsageError: ncpr: regularization_weight"),
        ({"budget": 0}, "UsageError: ncpr: budget = 0"),
        ({"solver": "fista"}, "UsageError: ncpr: solver = 'fista'"),
        ({"preset": "mri-8x"}, "UsageError: preset 'mri-8x': ncpr has none of that name. Did you"),
        ({"weights": "cpr_sigma25"}, "UsageError: weights 'cpr_sigma25': none of that name"),
        ({"weights": "cdl-lambda_set"}, "UsageError: weights 'cdl-lambda_set': none of that name"),
        ({"weights": "gone.safetensors"}, "UsageError: gone.safetensors: there is no such file"),
        ({"weights": "checkpoint.pth"}, "'lowfield-recon weights convert checkpoint.pth -o check"),
        ({"method": "cpr", "weights": "ncpr_sigma5"}, "UsageError: weights 'ncpr_sigma5': none"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(scan, settings, words):
    assert words in _raised(scan, **settings)


@BOTH
@pytest.mark.parametrize("shape", [(12, 40), (40, 1), (40, 12)])
def test_images_smaller_than_a_patch_are_refused(method, shape):
    problem = InverseProblem(
        data=torch.ones(1, 1, 1, *shape), operator=identity_operator(), image_domain="real"
    )
    found = _raised(problem, method=method)
    assert f"DataError: image of {shape[0]} x {shape[1]} pixels: smaller than the patches" in found


def test_a_truncated_file_of_weights_is_refused(scan, tmp_path):
    path = tmp_path / "cut.safetensors"
    path.write_bytes((SHIPPED / "ncpr_sigma25.safetensors").read_bytes()[:5000])
    assert "DataError: cut.safetensors" in _raised(scan, weights=str(path))
