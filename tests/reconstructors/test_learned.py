"""The learned comparators as reconstructors: the same as in training, any problem, refusals."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from lowfield_recon import InverseProblem, reconstruct
from lowfield_recon.errors import DataError, LowfieldReconError, UsageError
from lowfield_recon.learning.comparators import COMPARATORS, ComparatorModel
from lowfield_recon.learning.example_records import simulate_example, stack_examples
from lowfield_recon.learning.measured import Measured
from lowfield_recon.learning.weight_files import save_weights
from lowfield_recon.operators import (
    blur_operator,
    downsample_operator,
    identity_operator,
    kspace_operator,
    mask_operator,
)
from lowfield_recon.resources import sample_path
from lowfield_recon.scan import load_scan
from lowfield_recon.simulation import Recipe, simulate_kspace

SMALL = {
    "modl": {"filters": 4, "iterations": 3},
    "srdensenet": {"blocks": 1, "layers": 2},
    "tv-lambda": {"filters": 4, "iterations": 20},
    "unet": {"filters": 4, "pools": 1},
    "varnet": {"filters": 4, "cascades": 3},
}
MULTI_COIL = {"kind": "multi-coil", "cascades": 2, "filters": 2, "pools": 1,
              "sensitivity_filters": 2, "sensitivity_pools": 1}  # fmt: skip


def _model(method: str, architecture: dict) -> ComparatorModel:
    settings = COMPARATORS[method].settings.model_validate(architecture)
    model = ComparatorModel(method, settings, seed=4)
    with torch.no_grad():  # fresh weights change their input little; a test wants to see them
        for parameter in model.parameters():
            parameter.mul_(1.5)
    return model.eval()


def _write(folder, name: str, method: str, architecture: dict) -> str:
    model = _model(method, architecture)
    header = {
        "method": method,
        "architecture": model.settings.model_dump(mode="json"),
        "architecture_version": 1,
    }
    return str(save_weights(folder / f"{name}.safetensors", model.state_dict(), header, {}))


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("weights")
    written = {method: _write(folder, method, method, SMALL[method]) for method in SMALL}
    written["multi-coil"] = _write(folder, "multi-coil", "varnet", MULTI_COIL)
    return written


def _object(size: tuple[int, int] = (24, 20)) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    disc = ((y - size[0] / 2) ** 2 + (x - size[1] / 2) ** 2 < 60).float()
    return disc * (1 + 0.3 * torch.sin(0.8 * x))


def _problem(n_coils: int = 1, scale: float = 1.0) -> InverseProblem:
    recipe = Recipe(seed=3, window=(1.0, 0.6, 0.8), snr=12.0, n_coils=n_coils, phase_rad=1.0)
    scan = simulate_kspace(_object()[None, None, None], recipe)
    operator = kspace_operator(mask=scan.mask, coil_maps=scan.coil_maps if n_coils > 1 else None)
    return InverseProblem(
        data=scan.kspace * scale, operator=operator, noise_std=float(scan.noise_std) * scale
    )


def _differ(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(a - b) / torch.linalg.vector_norm(b))


@pytest.mark.parametrize("n_coils", [1, 3])
@pytest.mark.parametrize("name", [*SMALL, "multi-coil"])
def test_inference_is_what_was_trained(weights, name, n_coils) -> None:
    if name == "multi-coil" and n_coils == 1:
        return
    method = "varnet" if name == "multi-coil" else name
    recipe = Recipe(seed=3, window=(1.0, 0.6, 0.8), snr=12.0, n_coils=n_coils, phase_rad=1.0)
    batch = stack_examples([simulate_example(_object(), recipe)])
    model = _model(method, MULTI_COIL if name == "multi-coil" else SMALL[name])
    with torch.no_grad():
        expected = model(Measured.of_batch(batch))
    found = reconstruct(_problem(n_coils), method, weights=weights[name]).image
    assert found.shape == (1, 1, 1, 24, 20)
    assert _differ(found[0, 0], expected) < 1e-4
    assert _differ(batch.adjoint, expected) > 1e-3


@pytest.mark.parametrize("factor", [3.0, 1e-4])
@pytest.mark.parametrize("name", [*SMALL, "multi-coil"])
def test_scale_of_the_data_is_scale_of_the_image(weights, name, factor) -> None:
    method = "varnet" if name == "multi-coil" else name
    n_coils = 3 if name == "multi-coil" else 1
    plain, scaled = (
        reconstruct(_problem(n_coils, scale), method, weights=weights[name]).image
        for scale in (1.0, factor)
    )
    assert _differ(scaled / factor, plain) < 1e-4


@pytest.mark.parametrize("method", SMALL)
def test_a_batch_is_its_scans_one_by_one(weights, method) -> None:
    one = _problem()
    factors = torch.tensor([1.0, 0.2, 5.0]).reshape(3, 1, 1, 1, 1)
    together = dataclasses.replace(one, data=one.data * factors, image_shape=None)
    # Each plane has its own scale but the noise is one number: tell the same ratio to all alone.
    images = reconstruct(together, method, weights=weights[method]).image
    for i in range(3):
        alone = dataclasses.replace(one, data=together.data[i : i + 1], image_shape=None)
        expected = reconstruct(alone, method, weights=weights[method]).image
        assert _differ(images[i : i + 1], expected) < 2e-4


@pytest.mark.parametrize("method", SMALL)
def test_volumes_and_trajectories_go_through(weights, method) -> None:
    mask = torch.rand(1, 1, 6, 16, 1, generator=torch.Generator().manual_seed(0)) < 0.7
    mask[:, :, 2:4, 6:10] = True
    operator = kspace_operator(mask=mask)
    x = torch.zeros(1, 1, 6, 16, 16, dtype=torch.complex64)
    x[..., 1:5, 4:12, 4:12] = 1
    (y,) = operator(x)
    image = reconstruct(
        InverseProblem(data=y, operator=operator, noise_std=0.01), method, weights=weights[method]
    ).image
    assert image.shape == x.shape
    assert torch.isfinite(torch.view_as_real(image)).all()
    angles = torch.arange(24) * (torch.pi / 24)
    radius = torch.arange(16) - 8.0
    points = torch.stack(
        [torch.zeros(24, 16), torch.outer(angles.sin(), radius), torch.outer(angles.cos(), radius)],
        dim=-1,
    )[None, None]
    radial = kspace_operator(trajectory=points, image_shape=(1, 16, 16))
    (y,) = radial(x[:, :, 3:4])
    image = reconstruct(
        InverseProblem(data=y, operator=radial, noise_std=0.01), method, weights=weights[method]
    ).image
    assert image.shape == (1, 1, 1, 16, 16)
    assert torch.isfinite(torch.view_as_real(image)).all()


@pytest.mark.parametrize("task", ["denoise", "inpaint", "deblur", "super-resolve"])
@pytest.mark.parametrize("method", SMALL)
def test_photographs_through_the_same_interface(weights, method, task) -> None:
    generator = torch.Generator().manual_seed(0)
    photo = torch.nn.functional.interpolate(
        torch.rand(1, 3, 8, 8, generator=generator), size=(24, 28), mode="bicubic"
    ).reshape(1, 3, 1, 24, 28)
    shape = tuple(photo.shape[-3:])
    operator = {
        "denoise": identity_operator(),
        "inpaint": mask_operator(torch.rand(1, 1, 1, 24, 28, generator=generator) < 0.6),
        "deblur": blur_operator(torch.ones(5, 5) / 25, image_shape=shape),
        "super-resolve": downsample_operator(factor=2, image_shape=shape),
    }[task]
    (y,) = operator(photo)
    problem = InverseProblem(
        data=y, operator=operator, noise_std=0.02, image_domain="nonnegative"
    )  # fmt: skip
    image = reconstruct(problem, method, weights=weights[method]).image
    assert image.shape == photo.shape
    assert not image.is_complex()
    assert float(image.min()) >= 0
    assert torch.isfinite(image).all()


def test_double_precision_is_kept(weights) -> None:
    problem = dataclasses.replace(_problem(), data=_problem().data.to(torch.complex128))
    double = reconstruct(problem, "modl", weights=weights["modl"]).image
    assert double.dtype == torch.complex128
    assert _differ(reconstruct(_problem(), "modl", weights=weights["modl"]).image, double) < 1e-4


def test_two_runs_are_identical(weights) -> None:
    for method in SMALL:
        first, second = (
            reconstruct(_problem(), method, weights=weights[method]).image for _ in range(2)
        )
        assert torch.equal(first, second)


def test_maps_of_tv_lambda_are_weights_of_the_problem_itself(weights) -> None:
    results = [
        reconstruct(_problem(scale=s), "tv-lambda", weights=weights["tv-lambda"], keep_maps=True)
        for s in (1.0, 7.0)
    ]
    maps = [result.diagnostics["maps"] for result in results]
    assert maps[0].shape == (1, 1, 24, 20)
    assert torch.allclose(maps[1], 7 * maps[0], rtol=1e-4)
    assert results[0].diagnostics["mean_map"] == pytest.approx(float(maps[0].mean()), rel=1e-5)


def test_data_without_signal_give_a_zero_image(weights, tmp_path) -> None:
    separate = _write(tmp_path, "separate", "varnet", {"kind": "separate", "filters": 2})
    for name, path, n_coils in (
        *((method, weights[method], 1) for method in SMALL),
        ("varnet", separate, 1),
        ("varnet", weights["multi-coil"], 3),
    ):
        problem = _problem(n_coils)
        problem = dataclasses.replace(problem, data=torch.zeros_like(problem.data))
        assert not reconstruct(problem, name, weights=path).image.any()


def test_what_cannot_be_is_refused_in_one_line(weights, tmp_path) -> None:
    small = InverseProblem(data=torch.ones(1, 1, 1, 2, 8) + 0j, operator=identity_operator())
    with pytest.raises(DataError, match="image of 2 x 8 pixels"):
        reconstruct(small, "modl", weights=weights["modl"])
    with pytest.raises(DataError, match="weights of the kind 'shared' or 'separate'"):
        reconstruct(_problem(), "varnet", weights=weights["multi-coil"])
    with pytest.raises(UsageError, match="there is no such file"):
        reconstruct(_problem(), "unet", weights=str(tmp_path / "none.safetensors"))
    with pytest.raises(DataError, match="weights of the method 'unet'"):
        reconstruct(_problem(), "modl", weights=weights["unet"])


def test_changed_files_are_refused_by_name(weights, tmp_path) -> None:
    from lowfield_recon.learning.weight_files import load_weights

    found = load_weights(weights["modl"], method="modl")
    changes = {
        "newer": {"architecture_version": 99},
        "odd": {"architecture": {"filters": 5}},
        "unknown": {"architecture": {"depth": 5}},
    }
    for name, change in changes.items():
        header = {k: v for k, v in {**found.header, **change}.items() if k != "format"}
        path = save_weights(tmp_path / f"{name}.safetensors", found.state, header, {})
        with pytest.raises(LowfieldReconError, match=name) as error:
            reconstruct(_problem(), "modl", weights=str(path))
        assert "\n" not in str(error.value)


def test_the_truth_is_never_looked_at(weights) -> None:
    problem = _problem()
    known = dataclasses.replace(problem, reference=torch.ones(1, 1, 1, 24, 20) + 0j)
    for method in SMALL:
        a, b = (reconstruct(p, method, weights=weights[method]).image for p in (problem, known))
        assert torch.equal(a, b)


@pytest.mark.parametrize("method", ["modl", "srdensenet", "tv-lambda", "unet", "varnet"])
def test_the_weights_that_ship_take_noise_away(method) -> None:
    slices = load_scan(sample_path("brain_0055t_t1w.h5")).problems()
    image = reconstruct(slices[1], "wavelet").image.abs().to(torch.complex64)
    recipe = Recipe(seed=1, window=(1.0, 0.6, 0.6), snr=10.0, phase_rad=1.0)
    scan = simulate_kspace(image, recipe)
    problem = InverseProblem(
        data=scan.kspace, operator=kspace_operator(mask=scan.mask), noise_std=float(scan.noise_std)
    )
    found, zero_filled = (reconstruct(problem, name).image for name in (method, "adjoint"))
    assert _differ(found, scan.image) < 0.8 * _differ(zero_filled, scan.image)
