"""`mg-spair` as a method: what it recovers, what it takes, how it ends."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.learning.networks.coordinate_network import (
    CoordinateNetworkSettings,
    pixel_coordinates,
)
from lowfield_recon.learning.networks.wire import Wire
from lowfield_recon.mrpro_import import LinearOperator
from lowfield_recon.operators import (
    blur_operator,
    downsample_operator,
    identity_operator,
    kspace_operator,
    mask_operator,
    operator_norm,
)
from lowfield_recon.problem import InverseProblem, Reconstruction
from lowfield_recon.reconstructors.mg_spair import MgSpair, default_weight
from lowfield_recon.reconstructors.mg_spair_problem import ScaledProblem
from lowfield_recon.reconstructors.mg_spair_settings import MgSpairSettings
from lowfield_recon.resources import sample_path

QUICK: dict[str, Any] = {"iterations": 30, "features": 16, "warm_up": 5}


def photograph(size: int = 48, channels: int = 1) -> torch.Tensor:
    """Edges, a disc, a texture: what sparse details suit and plain networks blur."""
    y, x = torch.meshgrid(*(torch.linspace(0, 1, size),) * 2, indexing="ij")
    plane = 0.2 + 0.5 * (x + 0.4 * y > 0.6) + 0.2 * ((x - 0.6) ** 2 + (y - 0.6) ** 2 < 0.05)
    plane = plane + 0.05 * torch.sin(25 * y) * (x < 0.4)
    return torch.stack([plane * (1 - 0.2 * c) for c in range(channels)])[None, :, None]


def inpainting(seed: int = 0, *, kept: float = 0.5, noise: float = 0.0) -> InverseProblem:
    x = photograph()
    generator = torch.Generator().manual_seed(seed)
    A = mask_operator(torch.rand(x.shape, generator=generator) < kept)
    (y,) = A(x + noise * torch.randn(x.shape, generator=generator))
    return InverseProblem(
        data=y, operator=A, noise_std=noise, image_domain="real", reference=photograph()
    )


def gaussian(sigma: float) -> torch.Tensor:
    t = torch.arange(-4, 5, dtype=torch.float64)
    taps = torch.exp(-(t**2) / (2 * sigma**2))
    kernel = taps[:, None] * taps
    return kernel / kernel.sum()


def mixture(size: int = 24) -> LinearOperator:
    shape = (1, 1, 1, size, size)
    kept = torch.rand((1, 1, 1, size // 2, size // 2), generator=torch.Generator().manual_seed(1))
    blur = blur_operator(gaussian(1.2), image_shape=shape)
    return mask_operator(kept < 0.7) @ (downsample_operator(2, image_shape=shape) @ blur)


def coils(size: int = 24) -> LinearOperator:
    generator = torch.Generator().manual_seed(2)
    maps = torch.randn((1, 3, 1, size, size), dtype=torch.complex128, generator=generator)
    maps = maps / torch.linalg.vector_norm(maps, dim=1, keepdim=True)
    return kspace_operator(
        mask=torch.rand((1, 1, 1, size, 1), generator=generator) < 0.6, coil_maps=maps
    )


def solved(problem: InverseProblem, **settings: Any) -> Reconstruction:
    return MgSpair(MgSpairSettings(**{**QUICK, **settings})).reconstruct(problem)


def psnr(image: torch.Tensor, reference: torch.Tensor) -> float:
    return -10 * math.log10(float((image - reference).abs().square().mean()))


@pytest.mark.parametrize("case", ["mixture", "coils"])
def test_operators_have_their_adjoint_and_norm_at_most_one(case: str) -> None:
    A = mixture() if case == "mixture" else coils()
    dtype = torch.float64 if case == "mixture" else torch.complex128
    generator = torch.Generator().manual_seed(3)
    x = torch.randn((1, 1, 1, 24, 24), dtype=dtype, generator=generator)
    (y,) = A(x)
    z = torch.randn(y.shape, dtype=y.dtype, generator=generator)
    left, right = torch.sum(z.conj() * y), torch.sum(A.adjoint(z)[0].conj() * x)
    assert abs(left - right) <= 1e-10 * abs(left)
    assert operator_norm(A, x.shape, dtype=dtype).value <= 1 + 1e-6
    for _ in range(30):
        x = A.gram(x)[0]
        x = x / torch.linalg.vector_norm(x)
    assert float(torch.linalg.vector_norm(A(x)[0])) <= 1 + 1e-10


def test_a_global_phase_passes_through_the_operator() -> None:
    A, x = coils(), photograph(24).to(torch.complex64)
    phase = torch.exp(torch.tensor(1.1j))
    torch.testing.assert_close(A(phase * x)[0], phase * A(x)[0], rtol=0, atol=1e-6)


def test_exact_data_are_represented() -> None:
    x = photograph(64)
    problem = InverseProblem(
        data=x, operator=identity_operator(), noise_std=0.0, image_domain="real"
    )
    result = solved(problem, iterations=150, features=48, penalty="none", learning_rate=2e-3)
    assert psnr(result.image, x) > 35


def test_the_sparse_term_helps_inpainting() -> None:
    pixels = np.asarray(Image.open(sample_path("camera.png")).convert("L"))[60:108, 200:248]
    x = torch.tensor(pixels / 255, dtype=torch.float32)[None, None, None]
    gains = []
    for seed in range(3):
        A = mask_operator(torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)) < 0.5)
        problem = InverseProblem(data=A(x)[0], operator=A, noise_std=0.0, image_domain="real")
        plain, sparse = (
            solved(
                problem, penalty=penalty, seed=seed, warm_up=50, iterations=150, features=48,
                omega=24.0,
            ).image
            for penalty in ("none", "mcp")
        )  # fmt: skip
        gains.append(psnr(sparse, x) - psnr(plain, x))
    assert sum(gains) / 3 > 0.3


@pytest.mark.parametrize("penalty", ["l0", "l1", "mcp"])
def test_every_penalty_works_on_a_mixture_and_the_objective_never_rises(penalty: str) -> None:
    A = mixture(48)
    (y,) = A(photograph())
    y = y + 0.02 * torch.randn(y.shape, generator=torch.Generator().manual_seed(4)) * (y != 0)
    problem = InverseProblem(data=y, operator=A, noise_std=0.02, image_domain="nonnegative")
    result = solved(problem, penalty=penalty, grades=2, iterations=60)
    counted = result.diagnostics["objective"][result.diagnostics["warm_up"] :]
    rises = [b - a for a, b in pairwise(counted)]
    assert max(rises) <= 1e-6 * counted[0]
    assert result.diagnostics["rises_of_objective"] == 0
    assert result.diagnostics["samples"] == int((y != 0).sum())
    assert float(result.image.min()) >= 0
    assert psnr(result.image, photograph()) > 16


def test_scans_with_coils_are_complex() -> None:
    A = coils(24)
    x = photograph(24) * torch.exp(1j * photograph(24)) * 7e-5
    (y,) = A(x.to(torch.complex64))
    result = solved(
        InverseProblem(data=y.to(torch.complex64), operator=A, noise_std=1e-7),
        iterations=200,
        features=48,
    )
    assert result.image.dtype == torch.complex64
    error = torch.linalg.vector_norm(result.image - x) / torch.linalg.vector_norm(x)
    assert float(error) < 0.1


@pytest.mark.parametrize("network", ["siren", "wire"])
def test_colour_is_one_network_and_planes_are_several(network: str) -> None:
    x = photograph(16, channels=3).repeat(2, 1, 2, 1, 1)
    problem = InverseProblem(
        data=x, operator=identity_operator(), noise_std=0.0, image_domain="real"
    )
    result = solved(problem, network=network, iterations=120, features=24)
    assert result.image.shape == (2, 3, 2, 16, 16)
    assert psnr(result.image, x) > 22
    assert not torch.equal(result.image[0, :, 0], result.image[1, :, 1])


def test_the_unit_of_the_data_does_not_matter() -> None:
    A = coils(24)
    (y,) = A(photograph(24).to(torch.complex64))
    y = y.to(torch.complex64)
    images = [
        solved(InverseProblem(data=y * unit, operator=A, noise_std=0.01 * unit)).image / unit
        for unit in (1.0, 2.0**-20, 2.0**20)
    ]
    for image in images[1:]:
        torch.testing.assert_close(image, images[0], rtol=0, atol=1e-4)


def test_the_reference_is_not_looked_at() -> None:
    problem = inpainting()
    blind = InverseProblem(
        data=problem.data, operator=problem.operator, noise_std=0.0, image_domain="real"
    )
    assert torch.equal(solved(problem).image, solved(blind).image)


def test_the_same_seed_gives_the_same_image_whatever_the_global_generator() -> None:
    torch.manual_seed(1)
    first = solved(inpainting()).image
    torch.manual_seed(2)
    assert torch.equal(first, solved(inpainting()).image)
    assert not torch.equal(first, solved(inpainting(), seed=1).image)


def test_what_was_chosen_is_said() -> None:
    result = solved(inpainting(noise=0.02), penalty="l0")
    assert result.settings["regularization_weight"] == default_weight("l0", mu=0.1, noise=0.02)
    assert result.settings["omega"] == 0.25 * 48
    assert MgSpair()._resolved(inpainting(), ScaledProblem(inpainting()))["features"] == 64
    assert result.settings["stop"] == "settled"
    diagnostics = result.diagnostics
    assert diagnostics["rule"] == "smallest objective"
    assert diagnostics["iterations"] == len(diagnostics["objective"]) == 30
    assert diagnostics["chosen_iteration"] == 1 + diagnostics["objective"].index(
        min(diagnostics["objective"][5:])
    )
    for name in ("misfit", "coupling", "penalty", "accepted_step", "step_size", "nonzeros"):
        assert len(diagnostics[name]) == 30


def test_noise_ends_a_plain_fit() -> None:
    problem = inpainting(noise=0.1)
    result = solved(problem, penalty="none", iterations=400, features=48, learning_rate=3e-3)
    residual = problem.operator(result.image)[0] - problem.data
    samples = int((problem.data != 0).sum())
    assert result.diagnostics["stopping_reason"] == "discrepancy"
    assert float(residual.square().sum()) <= samples * 0.1**2 * (1 + 1e-5)


def test_a_budget_ends_it_with_an_image() -> None:
    result = solved(inpainting(), budget=1e-9, iterations=10_000)
    assert result.diagnostics["stopping_reason"] == "budget"
    assert result.diagnostics["iterations"] == 1
    assert bool(torch.isfinite(result.image).all())


def test_an_interrupt_returns_the_best_so_far() -> None:
    def progress(iteration: int, total: int, objective: float | None) -> None:
        if iteration == 12:
            raise KeyboardInterrupt

    result = MgSpair(MgSpairSettings(**QUICK)).reconstruct(inpainting(), progress=progress)
    assert result.diagnostics["stopping_reason"] == "interrupted"
    assert result.diagnostics["iterations"] == 12


class Observer:
    """Looks at the fifth image."""

    def __init__(self) -> None:
        self.seen: dict[int, torch.Tensor] = {}

    def __call__(self, iteration: int, total: int, objective: float | None, /) -> None:
        assert 1 <= iteration <= total
        assert objective is not None

    def wants_image(self, iteration: int) -> bool:
        return iteration == 5

    def show_image(self, iteration: int, image: torch.Tensor) -> None:
        self.seen[iteration] = image.clone()


def test_previews_are_in_the_unit_of_the_data() -> None:
    problem = inpainting()
    problem = InverseProblem(
        data=300 * problem.data, operator=problem.operator, noise_std=0.0, image_domain="real"
    )
    observer = Observer()
    MgSpair(MgSpairSettings(**QUICK)).reconstruct(problem, progress=observer)
    (image,) = observer.seen.values()
    assert image.shape == problem.shape
    assert 50 < float(image.mean()) < 300


def test_weights_of_the_image_before_are_where_the_next_begins() -> None:
    problem = inpainting()
    method = MgSpair(MgSpairSettings(**QUICK, warm_start="previous"))
    first, second = method.reconstruct(problem), method.reconstruct(problem)
    assert torch.equal(first.image, solved(problem).image)
    assert second.diagnostics["misfit"][0] < 0.3 * first.diagnostics["misfit"][0]


def test_weights_go_through_a_file(tmp_path: Path) -> None:
    path, problem = tmp_path / "w.safetensors", inpainting()
    first = solved(problem, save_weights=str(path))
    second = solved(problem, warm_start=str(path))
    assert second.diagnostics["misfit"][0] < 0.3 * first.diagnostics["misfit"][0]
    with pytest.raises(DataError, match="warm_start: the weights do not fit this network"):
        solved(problem, warm_start=str(path), features=8)
    with pytest.raises(DataError, match="nothere"):
        solved(problem, warm_start=str(tmp_path / "nothere.safetensors"))


@pytest.mark.parametrize("shape", [(1, 1, 1, 1, 1), (1, 1, 1, 1, 5), (1, 2, 1, 2, 1)])
@pytest.mark.parametrize("transform", ["framelet", "gradient"])
def test_tiny_images_are_taken(shape: tuple[int, ...], transform: str) -> None:
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    problem = InverseProblem(data=x, operator=identity_operator(), image_domain="real")
    result = solved(problem, transform=transform, grades=2)
    assert result.image.shape == shape
    assert float((result.image - x).abs().max()) < 0.5


@pytest.mark.parametrize("value", [0.0, 0.4, 250.0])
def test_a_constant_image_stays_constant(value: float) -> None:
    x = torch.full((1, 1, 1, 12, 12), value)
    result = solved(InverseProblem(data=x, operator=identity_operator(), image_domain="real"))
    torch.testing.assert_close(result.image, x, rtol=1e-5, atol=1e-6)


def test_data_of_zeros_give_an_image_of_zeros() -> None:
    y = torch.zeros(1, 3, 1, 24, 24, dtype=torch.complex64)
    result = solved(InverseProblem(data=y, operator=coils()))
    assert not bool(result.image.any())


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"iterations": 0}, "iterations"),
        ({"budget": 0}, "budget"),
        ({"penalty": "l2"}, "penalty"),
        ({"network": "relu"}, "network"),
        ({"relaxation": 1.5}, "relaxation"),
        ({"mu": -1}, "mu"),
        ({"grades": 0}, "grades"),
        ({"regularization_weight": float("nan")}, "regularization_weight"),
        ({"colour": 1}, "colour"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        MgSpairSettings(**settings)


def test_half_precision_of_a_wire_is_refused() -> None:
    with pytest.raises(UsageError, match="precision: a wire computes with complex numbers"):
        solved(inpainting(), network="wire", precision="bfloat16")


def test_the_wire_of_a_large_image_is_no_worse_than_a_siren_and_does_not_overflow() -> None:
    x = photograph(96)
    A = mask_operator(torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < 0.5)
    problem = InverseProblem(data=A(x)[0], operator=A, noise_std=0.0, image_domain="real")
    found = {
        network: solved(problem, network=network, iterations=80, features=48, warm_up=20)
        for network in ("siren", "wire")
    }
    assert psnr(found["wire"].image, x) > psnr(found["siren"].image, x) - 1.0
    omega = found["wire"].settings["omega"]
    settings = CoordinateNetworkSettings(kind="wire", features=48, omega=omega, sigma=5.0)
    wire = Wire(settings, outputs=1, is_complex=False, generator=torch.Generator().manual_seed(0))
    start = wire.hidden(pixel_coordinates((96, 96))).detach()
    assert float(start.abs().max()) < math.e
