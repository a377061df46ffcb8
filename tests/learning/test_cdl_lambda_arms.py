"""Ablation arms of CDL-Lambda: codes that fit the image instead of k-space, levels, controls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lowfield_recon import InverseProblem, load_dictionary, reconstruct
from lowfield_recon.learning.cdl_lambda_task import as_image_data, make_task
from lowfield_recon.learning.example_records import simulate_example, stack_examples
from lowfield_recon.learning.weight_files import save_weights
from lowfield_recon.operators import identity_operator, kspace_operator
from lowfield_recon.reconstructors.cdl_lambda import image_problem
from lowfield_recon.simulation import Recipe, simulate_kspace

DICTIONARY = "brain_K16_k9_lam2_beta0.5"


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    y, x = np.mgrid[:40, :36]
    for subject in range(2):
        disc = ((y - 20) ** 2 + (x - 18) ** 2 < 15**2) * (1 + 0.4 * np.sin(0.9 * x + subject))
        np.save(folder / f"head{subject}.npy", disc[None].astype(np.float32))
    return folder


def _task(images: Path, model: dict[str, Any], dictionary: str = DICTIONARY) -> Any:
    config: dict[str, Any] = {
        "model": model,
        "unroll": {"solver": "admm", "iterations": 6},
        "data": {"held_out": ["head1"]},
        "examples": {"crop": [32, 32], "snr": [8, 8]},
        "dictionaries": [dictionary],
        "validation": {"snrs": [8], "windows": [0.7], "dictionaries": [dictionary]},
    }
    return make_task(config, [images], torch.device("cpu"))


def _object() -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(32), torch.arange(28), indexing="ij")
    return ((y - 16) ** 2 + (x - 14) ** 2 < 100) * (1 + 0.3 * torch.sin(0.8 * x))


@pytest.mark.parametrize(
    ("model", "dictionary"),
    [
        ({"network": {"name": "scalar"}}, DICTIONARY),
        ({"network": {"name": "filterwise", "n_kernels": 16}}, DICTIONARY),
        ({"network": {"name": "blind", "filters": 4}}, DICTIONARY),
        ({"network": {"name": "set", "filters": 4}}, "control_identity"),
        ({"network": {"name": "set", "filters": 4}}, "control_random_K8_k5"),
        ({"network": {"name": "set", "filters": 4}, "fidelity": "image"}, DICTIONARY),
    ],
    ids=["scalar", "filterwise", "blind", "identity", "random", "image"],
)
def test_every_arm_trains(images, model, dictionary) -> None:
    task = _task(images, model, dictionary)
    task.loss(0).backward()
    gradient = torch.cat([p.grad.flatten() for p in task.model.parameters()])
    assert torch.isfinite(gradient).all()
    assert float(gradient.norm()) > 0
    assert np.isfinite(task.validate()["psnr"])


@pytest.mark.parametrize("n_coils", [1, 3])
def test_the_image_as_data_is_the_same_in_training_and_in_use(n_coils) -> None:
    recipe = Recipe(seed=3, window=(1.0, 0.6, 0.8), snr=12.0, n_coils=n_coils)
    batch = as_image_data(stack_examples([simulate_example(_object(), recipe)]))
    scan = simulate_kspace(_object()[None, None, None], recipe)
    operator = kspace_operator(mask=scan.mask, coil_maps=scan.coil_maps if n_coils > 1 else None)
    problem = image_problem(
        InverseProblem(data=scan.kspace, operator=operator, noise_std=float(scan.noise_std))
    )
    assert torch.allclose(problem.data[0, 0], batch.adjoint, atol=1e-5)
    assert problem.noise_std == pytest.approx(float(batch.noise_std[0]), rel=1e-3)
    assert torch.equal(batch.eigenvalues, torch.ones_like(batch.eigenvalues))


def test_codes_of_the_image_are_those_of_denoising_it(images, tmp_path) -> None:
    recipe = Recipe(seed=3, window=(1.0, 0.6, 0.8), snr=12.0)
    scan = simulate_kspace(_object()[None, None, None], recipe)
    problem = InverseProblem(
        data=scan.kspace, operator=kspace_operator(mask=scan.mask),
        noise_std=float(scan.noise_std),
    )  # fmt: skip
    found = {}
    for fidelity in ("image", "kspace"):
        task = _task(images, {"network": {"name": "set", "filters": 4}, "fidelity": fidelity})
        path = tmp_path / f"{fidelity}.safetensors"
        save_weights(path, task.model.state_dict(), task.header(), {})
        settings = {"dictionary": load_dictionary(DICTIONARY), "weights": str(path)}
        found[fidelity] = reconstruct(problem, "cdl-lambda", **settings).image
        if fidelity == "kspace":
            denoising = image_problem(problem)
            assert isinstance(denoising.operator, type(identity_operator()))
            denoised = reconstruct(denoising, "cdl-lambda", **settings).image
    assert torch.equal(found["image"], denoised)
    assert float((found["image"] - found["kspace"]).norm() / found["kspace"].norm()) > 1e-3
