"""The classical reconstructors against dense solves, closed forms and long reference runs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import pywt
import scipy.sparse.linalg
import torch
from PIL import Image

from lowfield_recon import InverseProblem, reconstruct
from lowfield_recon.operators import (
    blur_operator,
    downsample_operator,
    identity_operator,
    kspace_operator,
    mask_operator,
)
from lowfield_recon.operators.gradient import GradientOp, spatial_axes
from lowfield_recon.operators.wavelet import WaveletOp
from lowfield_recon.resources import sample_path
from lowfield_recon.solvers import group_norm, project_groups


def _random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.complex128) -> torch.Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def _maps(n_coils: int, ny: int, nx: int) -> torch.Tensor:
    """Smooth coil maps around the object with unit sum of squares."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, ny), torch.linspace(-1, 1, nx), indexing="ij")
    coils = []
    for c in range(n_coils):
        angle = 2 * math.pi * c / n_coils
        distance = (y - 1.3 * math.sin(angle)) ** 2 + (x - 1.3 * math.cos(angle)) ** 2
        coils.append(torch.exp(-0.7 * distance) * torch.exp(1j * (x * math.sin(angle) + y)))
    maps = torch.stack(coils)[None, :, None].to(torch.complex128)
    return maps / maps.abs().square().sum(1, keepdim=True).sqrt()


def _mask(n: int, every: int, calibration: int) -> torch.Tensor:
    mask = torch.zeros(n, dtype=torch.bool)
    mask[::every] = True
    mask[n // 2 - calibration // 2 : n // 2 + calibration // 2] = True
    return mask.reshape(1, 1, 1, n, 1)


def _object(ny: int, nx: int) -> torch.Tensor:
    y, x = torch.meshgrid(torch.linspace(-1, 1, ny), torch.linspace(-1, 1, nx), indexing="ij")
    image = (y**2 + x**2 < 0.7).double() - 0.5 * ((y - 0.2).abs() + (x + 0.1).abs() < 0.3)
    return (image * torch.exp(0.8j * (y + x**2)))[None, None, None].to(torch.complex128)


def _scan(size: int = 32, coils: int = 4, noise: float = 0.02, every: int = 3) -> InverseProblem:
    operator = kspace_operator(
        mask=_mask(size, every, 8), coil_maps=None if coils == 1 else _maps(coils, size, size)
    )
    x = _object(size, size)
    (y,) = operator(x)
    error = noise * _random(*y.shape, seed=9) * operator.mask
    return InverseProblem(data=y + error, operator=operator, noise_std=noise, reference=x)


def _photograph() -> torch.Tensor:
    with Image.open(sample_path("camera.png")) as image:
        pixels = np.asarray(image.convert("L"), dtype=np.float64)
    return torch.from_numpy(pixels[100:164, 200:264] / 255)[None, None, None]


@pytest.mark.parametrize("coils", [1, 3])
def test_cg_sense_solves_the_normal_equations(coils: int) -> None:
    problem = _scan(size=12, coils=coils)
    n = 144
    weight = 0.05
    basis = torch.eye(n, dtype=torch.complex128).reshape(n, 1, 1, 1, 12, 12)
    columns = torch.stack([problem.operator(b)[0].flatten() for b in basis], dim=1)
    matrix = columns.mH @ columns + weight * torch.eye(n)
    expected = torch.linalg.solve(matrix, columns.mH @ problem.data.flatten())
    image = reconstruct(
        problem, "cg-sense", regularization_weight=weight, tolerance=1e-12, iterations=500
    ).image
    assert torch.allclose(image.flatten(), expected, atol=1e-9)


def test_cg_sense_of_full_noise_free_data_returns_the_image() -> None:
    x = _object(32, 32)
    operator = kspace_operator(coil_maps=_maps(4, 32, 32))
    (y,) = operator(x)
    result = reconstruct(
        InverseProblem(data=y, operator=operator, noise_std=0.0), "cg-sense", tolerance=1e-10
    )
    assert torch.allclose(result.image, x, atol=1e-7)


def test_cg_sense_of_a_batch_equals_slice_by_slice() -> None:
    maps = torch.cat([_maps(3, 16, 16), _maps(3, 16, 16).flip(-1)])
    operator = kspace_operator(mask=_mask(16, 2, 4), coil_maps=maps)
    x = torch.cat([_object(16, 16), 1e-3 * _object(16, 16).flip(-2)])
    (y,) = operator(x)
    settings = {"regularization_weight": 0.01, "tolerance": 1e-8, "iterations": 300}
    together = reconstruct(InverseProblem(data=y, operator=operator), "cg-sense", **settings).image
    for i in range(2):
        single = kspace_operator(mask=_mask(16, 2, 4), coil_maps=maps[i : i + 1])
        alone = reconstruct(
            InverseProblem(data=y[i : i + 1], operator=single), "cg-sense", **settings
        ).image
        assert torch.allclose(together[i : i + 1], alone, rtol=1e-6, atol=1e-9)


def _tv_objective(problem: InverseProblem, x: torch.Tensor, weight: float) -> float:
    (differences,) = GradientOp(spatial_axes(x.shape))(x)
    residual = problem.operator(x)[0] - problem.data
    return float(0.5 * residual.abs().square().sum() + weight * group_norm(differences).sum())


def _tv_dual_bound(problem: InverseProblem, x: torch.Tensor, weight: float) -> float:
    """A lower bound of the TV objective of a full-rank problem, from a feasible dual variable.

    For ``|p| <= w`` the minimum over x of ``1/2 ||A x - y||^2 + Re <K x, p>`` bounds the optimum;
    p is found by accelerated projected gradients on it, independently of the solver under test.
    """
    gradient = GradientOp(spatial_axes(x.shape))
    ridge = problem.operator.gram
    (rhs,) = problem.operator.adjoint(problem.data)

    def solved(c: torch.Tensor) -> torch.Tensor:
        operator = scipy.sparse.linalg.LinearOperator(
            (x.numel(), x.numel()), dtype=np.complex128,
            matvec=lambda v: ridge(torch.from_numpy(v).reshape(x.shape))[0].numpy().ravel(),
        )  # fmt: skip
        found, _ = scipy.sparse.linalg.cg(operator, c.numpy().ravel(), rtol=1e-10)
        return torch.from_numpy(found).reshape(x.shape)

    p = torch.zeros_like(gradient(x)[0])
    v, t = p, 1.0
    for _ in range(300):
        primal = solved(rhs - gradient.adjoint(v)[0])
        p_new = project_groups(v + 0.02 * gradient(primal)[0], weight)
        t_new = 0.5 * (1 + math.sqrt(1 + 4 * t * t))
        v, p, t = p_new + (t - 1) / t_new * (p_new - p), p_new, t_new
    primal = solved(rhs - gradient.adjoint(p)[0])
    pairing = torch.vdot(gradient(primal)[0].flatten(), p.flatten()).real
    residual = problem.operator(primal)[0] - problem.data
    return float(0.5 * residual.abs().square().sum() + pairing)


def test_tv_is_within_a_ten_thousandth_of_a_dual_lower_bound() -> None:
    x = _object(16, 16)
    operator = kspace_operator(coil_maps=_maps(3, 16, 16) * (1.0 + _object(16, 16).abs()))
    (y,) = operator(x)
    y = y + 0.05 * _random(*y.shape, seed=3)
    problem = InverseProblem(data=y, operator=operator)
    image = reconstruct(
        problem, "tv", regularization_weight=0.05, tolerance=1e-7, iterations=2000
    ).image
    bound = _tv_dual_bound(problem, image, 0.05)
    assert bound * (1 - 1e-9) <= _tv_objective(problem, image, 0.05) <= bound * (1 + 1e-4)


@pytest.mark.parametrize("coils", [1, 4])
@pytest.mark.parametrize("method", ["tv", "wavelet"])
def test_the_default_tolerance_is_within_a_thousandth_of_a_long_run(
    method: str, coils: int
) -> None:
    problem = _scan(coils=coils)
    default = reconstruct(problem, method)
    weight = default.settings["regularization_weight"]
    long = reconstruct(
        problem, method, regularization_weight=weight, tolerance=1e-7, iterations=1500
    )
    assert default.diagnostics["stopping_reason"] in ("tolerance", "stagnation")
    best = long.diagnostics["objective"][-1]
    assert best * (1 - 1e-9) <= default.diagnostics["objective"][-1] <= best * (1 + 1e-3)


@pytest.mark.parametrize("case", ["one coil", "three coils", "volume"])
def test_wavelet_satisfies_its_optimality_conditions(case: str) -> None:
    problem = _volume() if case == "volume" else _scan(coils=1 if case == "one coil" else 3)
    weight = 0.02
    levels = 1 if case == "volume" else 2
    image = reconstruct(
        problem, "wavelet", wavelet="db2", levels=levels, regularization_weight=weight,
        tolerance=1e-10, iterations=20000,
    ).image  # fmt: skip
    W = WaveletOp(image.shape, "db2", levels)
    (coefficients,) = W(image)
    (pull,) = W(problem.operator.adjoint(problem.data - problem.operator(image)[0])[0])
    z, y, x = W.coarse_size
    assert pull[..., :z, :y, :x].abs().max() < 1e-6
    support = coefficients.abs() > 1e-6
    support[..., :z, :y, :x] = False
    direction = coefficients[support] / coefficients[support].abs()
    assert torch.allclose(pull[support], weight * direction, atol=1e-5)
    assert pull.abs().max() <= weight + 1e-5


def test_wavelet_denoising_is_soft_thresholding_of_pywavelets_coefficients() -> None:
    y = _photograph()
    problem = InverseProblem(data=y, operator=identity_operator(), image_domain="real")
    image = reconstruct(
        problem, "wavelet", wavelet="haar", levels=3, regularization_weight=0.05
    ).image
    coarse, *details = pywt.wavedec2(y[0, 0, 0].numpy(), "haar", "periodization", level=3)
    shrunk = [tuple(pywt.threshold(band, 0.05, "soft") for band in level) for level in details]
    expected = pywt.waverec2([coarse, *shrunk], "haar", "periodization")
    assert np.allclose(image[0, 0, 0].numpy(), expected, atol=1e-6)


def test_the_shift_invariant_penalty_gives_shift_equivariant_images() -> None:
    y = _photograph()[..., :31, :29]
    settings = {
        "wavelet": "db2",
        "levels": 2,
        "shift_invariant": True,
        "regularization_weight": 0.05,
    }

    def image(data: torch.Tensor) -> torch.Tensor:
        problem = InverseProblem(data=data, operator=identity_operator(), image_domain="real")
        return reconstruct(problem, "wavelet", tolerance=0.0, iterations=50, **settings).image

    shifted = image(torch.roll(y, (3, 5), (-2, -1)))
    assert torch.allclose(shifted, torch.roll(image(y), (3, 5), (-2, -1)), atol=1e-9)


@pytest.mark.parametrize("method", ["cg-sense", "tv", "wavelet"])
def test_scaling_the_data_scales_the_image(method: str) -> None:
    problem = _scan()
    image = reconstruct(problem, method).image
    scaled = InverseProblem(
        data=1e-6 * problem.data, operator=problem.operator, noise_std=1e-6 * 0.02
    )
    assert torch.allclose(1e6 * reconstruct(scaled, method).image, image, atol=1e-6)


@pytest.mark.parametrize("method", ["tv", "wavelet"])
def test_a_global_phase_of_the_data_is_a_global_phase_of_the_image(method: str) -> None:
    problem = _scan()
    phase = complex(math.cos(0.7), math.sin(0.7))
    turned = InverseProblem(data=phase * problem.data, operator=problem.operator, noise_std=0.02)
    expected = phase * reconstruct(problem, method).image
    assert torch.allclose(reconstruct(turned, method).image, expected, atol=1e-6)


@pytest.mark.parametrize("method", ["tv", "wavelet"])
def test_regularised_images_are_nearer_to_the_truth_than_the_adjoint(method: str) -> None:
    problem = _scan(size=64, noise=0.05)
    assert problem.reference is not None

    def error(name: str) -> float:
        return float((reconstruct(problem, name).image - problem.reference).abs().square().sum())

    assert error(method) < 0.5 * error("adjoint")


@pytest.mark.parametrize("method", ["adjoint", "cg-sense", "tv", "wavelet"])
@pytest.mark.parametrize("task", ["inpaint", "denoise", "deblur", "super-resolve"])
@pytest.mark.parametrize("domain", ["real", "nonnegative"])
def test_photographs_go_through_every_method(method: str, task: str, domain: str) -> None:
    x = _photograph()[..., :30, :33].float().repeat(1, 3, 1, 1, 1)
    kernel = torch.ones(3, 3) / 9
    operator = {
        "inpaint": mask_operator(_random(1, 1, 1, 30, 33, dtype=torch.float32) < 0),
        "denoise": identity_operator(),
        "deblur": blur_operator(kernel, image_shape=x.shape),
        "super-resolve": downsample_operator(2, image_shape=x.shape)
        @ blur_operator(kernel, image_shape=x.shape),
    }[task]  # fmt: skip
    (y,) = operator(x)
    y = y + 0.01 * torch.randn(y.shape, generator=torch.Generator().manual_seed(1)) * (y != 0)
    problem = InverseProblem(data=y, operator=operator, image_domain=domain)  # type: ignore[arg-type]
    result = reconstruct(problem, method)
    assert result.image.shape == x.shape
    assert result.image.dtype == torch.float32
    assert torch.isfinite(result.image).all()
    if domain == "nonnegative" and method != "adjoint":
        assert result.image.min() >= 0
    if method == "tv" and task in ("inpaint", "deblur"):
        error, before = (result.image - x).square().mean(), (y - x).square().mean()
        assert error < before


def _volume() -> InverseProblem:
    x = _object(12, 12).expand(1, 1, 10, 12, 12).contiguous()
    mask = torch.rand(1, 1, 10, 12, 1, generator=torch.Generator().manual_seed(0)) < 0.6
    mask[:, :, 3:7, 4:8] = True
    operator = kspace_operator(mask=mask)
    return InverseProblem(data=operator(x)[0], operator=operator, noise_std=0.01, reference=x)


def test_tv_of_a_volume_is_nearer_to_the_truth_than_the_adjoint() -> None:
    problem = _volume()
    assert problem.reference is not None
    image = reconstruct(problem, "tv", regularization_weight=0.01).image
    zero_filled = reconstruct(problem, "adjoint").image
    error = (image - problem.reference).abs().square().sum()
    assert error < 0.5 * (zero_filled - problem.reference).abs().square().sum()


def test_the_reference_is_never_looked_at() -> None:
    problem = _scan()
    for method in ("adjoint", "cg-sense", "tv", "wavelet"):
        blind = InverseProblem(data=problem.data, operator=problem.operator, noise_std=0.02)
        assert torch.equal(reconstruct(problem, method).image, reconstruct(blind, method).image)


def test_a_budget_returns_the_current_iterate() -> None:
    result = reconstruct(_scan(), "tv", budget=1e-6, tolerance=0.0)
    assert result.diagnostics["stopping_reason"] == "budget"
    assert result.diagnostics["iterations"] < 300
    assert torch.isfinite(result.image).all()


def test_progress_is_reported_with_the_objective() -> None:
    seen: list[tuple[int, int, float | None]] = []
    reconstruct(_scan(), "wavelet", iterations=5, tolerance=0.0, progress=lambda *a: seen.append(a))
    assert [number for number, _, _ in seen] == [1, 2, 3, 4, 5]
    assert all(total == 5 and objective is not None for _, total, objective in seen)


def test_radial_data_is_gridded_with_density_compensation() -> None:
    n, spokes = 48, 72
    x = _object(n, n).to(torch.complex64)
    angle = torch.arange(spokes) * (math.pi / spokes)
    radius = torch.arange(n) - n / 2
    k = torch.stack(
        (
            torch.zeros(spokes, n),
            angle.sin()[:, None] * radius,
            angle.cos()[:, None] * radius,
        ),
        dim=-1,
    )[None, None]
    operator = kspace_operator(trajectory=k, image_shape=(1, n, n))
    problem = InverseProblem(data=operator(x)[0], operator=operator, noise_std=0.001)
    inside = x.abs() > 0.9
    gridded = reconstruct(problem, "adjoint").image
    assert gridded[inside].abs().mean() == pytest.approx(1.0, abs=0.1)
    for method in ("cg-sense", "tv", "wavelet"):
        image = reconstruct(problem, method).image
        assert (image - x).abs().square().mean() < (gridded - x).abs().square().mean()


@pytest.mark.parametrize("noise_std", [None, 0.0])
@pytest.mark.parametrize("method", ["tv", "wavelet"])
def test_pixels_that_are_missing_are_filled_where_there_is_no_noise(method, noise_std):
    mask = torch.rand(1, 1, 1, 32, 32, generator=torch.Generator().manual_seed(0)) < 0.5
    for image in (torch.full(mask.shape, 0.7), torch.linspace(0, 1, 32).expand(mask.shape)):
        problem = InverseProblem(
            data=image * mask, operator=mask_operator(mask), noise_std=noise_std,
            image_domain="real",
        )  # fmt: skip
        found = reconstruct(problem, method)
        error = (found.image - image)[~mask].square().mean().sqrt()
        assert error < (0.1 if method == "tv" else 0.4) * image[~mask].square().mean().sqrt()
        assert (found.image - image)[mask].abs().max() < 0.02
        assert "hardly any noise" in found.diagnostics["weight_rule"]


def test_complete_data_without_noise_are_not_smoothed():
    image = torch.rand(1, 1, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    problem = InverseProblem(
        data=image, operator=identity_operator(), noise_std=0.0, image_domain="real"
    )
    found = reconstruct(problem, "tv")
    assert found.settings["regularization_weight"] == 0
    assert torch.allclose(found.image, image, atol=1e-5)
