"""CDL-Lambda: symmetries of the whole method, any dictionary, any operator, refusals by name."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from lowfield_recon import Dictionary, InverseProblem, load_dictionary, load_scan, reconstruct
from lowfield_recon.errors import DataError, LowfieldReconError
from lowfield_recon.learning.cdl_lambda import CdlLambdaModel, ModelSettings
from lowfield_recon.learning.weight_files import save_weights
from lowfield_recon.operators import (
    blur_operator,
    downsample_operator,
    identity_operator,
    kspace_operator,
    mask_operator,
)
from lowfield_recon.resources import sample_path


def _write(folder, name: str, network: dict, **settings) -> str:
    """Write a model with random weights whose maps vary."""
    chosen = ModelSettings(network=network, **settings)
    model = CdlLambdaModel(chosen, seed=4)
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.mul_(1.5)
    header = {
        "method": "cdl-lambda",
        "architecture": chosen.model_dump(mode="json"),
        "architecture_version": 1,
    }
    return str(save_weights(folder / f"{name}.safetensors", model.state_dict(), header, {}))


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("weights")
    small = {"filters": 4, "stages": 2}
    return {
        "set": _write(folder, "set", {"name": "set", **small}),
        "v3": _write(folder, "v3", {"name": "v3", "level": 0.5, **small}, penalty="components"),
        "v1": _write(
            folder, "v1", {"name": "v1", "level": 0.5, "n_kernels": 32, **small},
            penalty="components",
        ),
    }  # fmt: skip


@pytest.fixture(scope="module")
def problem() -> InverseProblem:
    """A central window of the k-space of one slice at 0.055 T."""
    full = load_scan(sample_path("brain_0055t_t2w.h5")).problems()[1]
    mask = torch.zeros(full.data.shape, dtype=torch.bool)
    mask[..., 23:103, 24:104] = True
    return InverseProblem(
        data=full.data * mask, operator=kspace_operator(mask=mask), noise_std=full.noise_std
    )


@pytest.fixture(scope="module")
def kernels() -> torch.Tensor:
    return load_dictionary("brain_K32_k9_lam2_beta0.5").kernels


def _image(problem: InverseProblem, kernels: torch.Tensor, weights: str, **settings):
    settings = {"iterations": 12, "tolerance": 0.0, **settings}
    dictionary = Dictionary(kernels=kernels)
    return reconstruct(
        problem, "cdl-lambda", dictionary=dictionary, weights=weights, **settings
    ).image


def _double(problem: InverseProblem) -> InverseProblem:
    """Return the same problem in double precision."""
    return dataclasses.replace(problem, data=problem.data.to(torch.complex128))


def _differ(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(a - b) / torch.linalg.vector_norm(b))


@pytest.mark.parametrize("name", ["set", "v3"])
@pytest.mark.parametrize("precision", ["single", "double"])
def test_the_order_of_the_filters_does_not_matter(
    problem, kernels, random_weights, name, precision
):
    if precision == "double":
        problem = _double(problem)
    order = torch.randperm(32, generator=torch.Generator().manual_seed(0))
    images = [_image(problem, k, random_weights[name]) for k in (kernels[order], kernels)]
    assert images[0].dtype == problem.data.dtype
    assert _differ(*images) <= (1e-12 if precision == "double" else 1e-5)


def test_the_order_of_the_filters_matters_for_v1(problem, kernels, random_weights):
    order = torch.randperm(32, generator=torch.Generator().manual_seed(0))
    images = [_image(problem, k, random_weights["v1"]) for k in (kernels[order], kernels)]
    assert _differ(*images) > 1e-3


def test_the_sign_of_a_filter_does_not_matter(problem, kernels, random_weights):
    signs = torch.where(torch.arange(32) % 3 == 0, -1.0, 1.0)[:, None, None]
    images = [_image(problem, k, random_weights["set"]) for k in (kernels * signs, kernels)]
    assert _differ(*images) <= 1e-6


@pytest.mark.parametrize("factor", [3.0, 1e-4])
def test_scale_of_the_data_is_scale_of_the_image(problem, kernels, random_weights, factor):
    scaled = dataclasses.replace(
        problem, data=problem.data * factor, noise_std=problem.noise_std * factor
    )
    image = _image(scaled, kernels, random_weights["set"]) / factor
    assert _differ(image, _image(problem, kernels, random_weights["set"])) <= 1e-5


def test_a_global_phase_of_the_data_is_one_of_the_image(problem, kernels, random_weights):
    turn = torch.polar(torch.tensor(1.0), torch.tensor(0.7))
    turned = dataclasses.replace(problem, data=problem.data * turn)
    image = _image(turned, kernels, random_weights["set"]) / turn
    assert _differ(image, _image(problem, kernels, random_weights["set"])) <= 1e-5


def test_a_quarter_turn_of_the_phase_is_exact_with_components_too(problem, kernels, random_weights):
    turned = dataclasses.replace(problem, data=problem.data * 1j)
    settings = {"penalty": "components"}
    image = _image(turned, kernels, random_weights["set"], **settings) / 1j
    assert _differ(image, _image(problem, kernels, random_weights["set"], **settings)) <= 1e-6


@pytest.mark.parametrize("name", ["set", "v3"])
def test_a_batch_of_three_is_three_batches_of_one(problem, kernels, random_weights, name):
    factors = torch.tensor([1.0, 0.2, 5.0]).reshape(3, 1, 1, 1, 1)
    noise = torch.randn(
        (3, *problem.data.shape[1:]), generator=torch.Generator().manual_seed(2),
        dtype=torch.complex64,
    )  # fmt: skip
    data = (problem.data + problem.noise_std * noise * (problem.data != 0)) * factors
    together = _image(
        dataclasses.replace(problem, data=data, image_shape=None), kernels, random_weights[name]
    )
    for i in range(3):
        one = dataclasses.replace(problem, data=data[i : i + 1], image_shape=None)
        alone = _image(one, kernels, random_weights[name])
        assert _differ(together[i : i + 1], alone) <= 1e-5


@pytest.mark.parametrize("n_kernels", [16, 32, 64, 128])
@pytest.mark.parametrize("size", [9, 11])
def test_one_set_of_weights_serves_every_dictionary_of_the_grid(
    problem, random_weights, n_kernels, size
):
    result = reconstruct(
        problem, "cdl-lambda", dictionary=f"brain_K{n_kernels}_k{size}_lam2_beta0.5",
        weights=random_weights["set"], iterations=4, tolerance=0.0,
    )  # fmt: skip
    assert torch.isfinite(torch.view_as_real(result.image)).all()
    assert result.settings["dictionary"] == f"brain_K{n_kernels}_k{size}_lam2_beta0.5"


@pytest.mark.parametrize("size", [7, 13])
def test_kernels_that_no_training_saw_and_from_a_file(problem, random_weights, tmp_path, size):
    import numpy as np

    kernels = torch.randn(5, size, size, generator=torch.Generator().manual_seed(size))
    np.save(tmp_path / "own.npy", (kernels / kernels.flatten(1).norm(dim=1)[:, None, None]).numpy())
    result = reconstruct(
        problem, "cdl-lambda", dictionary=str(tmp_path / "own.npy"),
        weights=random_weights["set"], iterations=4, tolerance=0.0,
    )  # fmt: skip
    assert torch.isfinite(torch.view_as_real(result.image)).all()
    assert float(result.image.abs().max()) > 0


def test_dictionary_and_weights_are_read_once_for_all_slices(
    problem, random_weights, tmp_path, monkeypatch
):
    import numpy as np

    from lowfield_recon.reconstructors import cdl_lambda, convolutional_dictionary, create

    read = []

    def counted(load):
        def count(source):
            read.append(source)
            return load(source)

        return count

    for module, name in ((convolutional_dictionary, "load_dictionary"), (cdl_lambda, "load_model")):
        monkeypatch.setattr(module, name, counted(getattr(module, name)))
    path = tmp_path / "loud.npy"
    np.save(path, 3 * load_dictionary("brain_K16_k9_lam2_beta0.5").kernels.numpy())
    settings = {"dictionary": str(path), "weights": random_weights["set"], "iterations": 2}
    reconstructor = create("cdl-lambda", settings)
    results = [reconstructor.reconstruct(problem) for _ in range(3)]
    assert sorted(read) == sorted([str(path), random_weights["set"]])
    assert all("norms of 3" in result.diagnostics["dictionary_notes"] for result in results)


def test_maps_are_kept_where_they_are_asked_for(problem, kernels, random_weights):
    result = reconstruct(
        problem, "cdl-lambda", dictionary=Dictionary(kernels=kernels), keep_maps=True,
        weights=random_weights["set"], iterations=2,
    )  # fmt: skip
    maps = result.diagnostics["maps"]
    assert maps.shape == (32, 1, *problem.shape[-2:])
    torch.testing.assert_close(
        maps.mean(dim=(1, 2, 3)), result.diagnostics["mean_map"], rtol=1e-4, atol=0
    )


def test_a_factor_of_the_maps_makes_the_codes_sparser(problem, kernels, random_weights):
    fractions = [
        reconstruct(
            problem, "cdl-lambda", dictionary=Dictionary(kernels=kernels), iterations=20,
            weights=random_weights["set"], regularization_weight=factor,
        ).diagnostics["fraction_of_nonzero_codes"]
        for factor in (0.5, 1.0, 2.0)
    ]  # fmt: skip
    assert fractions[0] > fractions[1] > fractions[2]


def test_two_evaluations_are_identical(problem, kernels, random_weights):
    first, second = (_image(problem, kernels, random_weights["set"]) for _ in range(2))
    assert torch.equal(first, second)


def _tasks():
    generator = torch.Generator().manual_seed(0)
    photo = torch.nn.functional.interpolate(
        torch.rand(1, 3, 8, 8, generator=generator), size=(32, 40), mode="bicubic"
    ).reshape(1, 3, 1, 32, 40)
    shape = tuple(photo.shape[-3:])
    mask = torch.rand(1, 1, 1, 32, 40, generator=generator) < 0.6
    kernel = torch.ones(5, 5) / 25
    return photo, {
        "denoise": identity_operator(),
        "inpaint": mask_operator(mask),
        "deblur": blur_operator(kernel, image_shape=shape),
        "super-resolve": downsample_operator(factor=2, image_shape=shape),
    }


@pytest.mark.parametrize("task", ["denoise", "inpaint", "deblur", "super-resolve"])
def test_photographs_through_the_same_interface(task, random_weights):
    photo, operators = _tasks()
    clean = operators[task](photo)[0]
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    noisy = InverseProblem(
        data=clean + 0.05 * noise * (clean != 0), operator=operators[task], noise_std=0.05,
        image_domain="nonnegative",
    )  # fmt: skip
    result = reconstruct(noisy, "cdl-lambda", weights=random_weights["set"], iterations=30)
    assert result.image.shape == photo.shape
    assert not result.image.is_complex()
    misfit = (operators[task](result.image)[0] - noisy.data).square().mean().sqrt()
    assert float(misfit) < 4 * 0.05


def test_several_coils_and_missing_lines(random_weights):
    generator = torch.Generator().manual_seed(3)
    x = torch.zeros(1, 1, 1, 24, 20, dtype=torch.complex64)
    x[..., 6:18, 5:15] = 1
    maps = torch.randn(1, 3, 1, 24, 20, generator=generator, dtype=torch.complex64)
    maps = maps / maps.abs().square().sum(1, keepdim=True).sqrt()
    mask = torch.zeros(1, 1, 1, 24, 1, dtype=torch.bool)
    mask[..., ::2, :] = True
    operator = kspace_operator(mask=mask, coil_maps=maps)
    (y,) = operator(x)
    noise = 0.02 * torch.randn(y.shape, generator=generator, dtype=torch.complex64)
    problem = InverseProblem(data=y + noise * (y != 0), operator=operator, noise_std=0.02)
    result = reconstruct(problem, "cdl-lambda", weights=random_weights["set"], iterations=100)
    (predicted,) = operator(result.image)
    assert _differ(predicted, y) < 0.15


def test_weights_of_another_method_version_or_shape_are_refused_by_name(
    problem, random_weights, tmp_path
):
    from lowfield_recon.learning.weight_files import load_weights

    found = load_weights(random_weights["set"], method="cdl-lambda")
    changes = {
        "modl": {"method": "modl"},
        "newer": {"architecture_version": 99},
        "odd": {"architecture": {"network": {"name": "set", "filters": 5}}},
        "unknown": {"architecture": {"network": {"name": "v9"}}},
    }
    for name, change in changes.items():
        header = {k: v for k, v in {**found.header, **change}.items() if k not in ("format",)}
        path = save_weights(tmp_path / f"{name}.safetensors", found.state, header, {})
        with pytest.raises(LowfieldReconError, match=name) as error:
            reconstruct(problem, "cdl-lambda", weights=str(path))
        assert "\n" not in str(error.value)


def test_weights_of_one_dictionary_refuse_another_number_of_kernels(problem, random_weights):
    with pytest.raises(DataError, match=r"trained for 32 kernels, got 16"):
        reconstruct(
            problem, "cdl-lambda", weights=random_weights["v1"],
            dictionary="brain_K16_k9_lam2_beta0.5",
        )  # fmt: skip
