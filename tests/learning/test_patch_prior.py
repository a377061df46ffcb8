"""The patch prior: its constraints, its gradient, its files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.learning.patch_prior import (
    ARCHITECTURE_VERSION,
    PatchPrior,
    PatchPriorSettings,
    load_patch_prior,
)
from lowfield_recon.learning.weight_files import save_weights
from lowfield_recon.solvers.patch_regularizer import PatchRegularizer

NAMES = ("ncpr_sigma25", "ncpr_sigma5", "cpr_sigma25", "cpr_sigma5")
SMALL = {"patch": 5, "atoms": 14, "free_atoms": 12}
DOUBLE = torch.float64


def shipped(name: str) -> PatchPrior:
    return load_patch_prior(name, method=name.partition("_")[0])


def small(seed: int = 0, **changes: object) -> PatchPrior:
    """Return a small prior in double precision whose scales differ."""
    prior = PatchPrior(PatchPriorSettings(**{**SMALL, **changes}), seed=seed).double()
    generator = torch.Generator().manual_seed(seed + 100)
    with torch.no_grad():
        prior.scaling += 0.3 * torch.randn(prior.scaling.shape, generator=generator)
    return prior


def constraint_errors(prior: PatchPrior, regularizer: PatchRegularizer) -> tuple[float, ...]:
    """Return the largest entries of Q Q^T - I, U U^T - I, Q^T D, and of the means."""
    Q, U = prior.smooth_basis().flatten(1), regularizer.basis.flatten(1)
    D = regularizer.dictionary.flatten(1)
    return tuple(
        float(part.detach().abs().max())
        for part in (
            Q @ Q.mT - torch.eye(len(Q), dtype=Q.dtype),
            U @ U.mT - torch.eye(len(U), dtype=U.dtype),
            Q.to(D.dtype) @ D.mT,
            D.mean(dim=1),
            Q.mean(dim=1),
        )
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_published_weights_keep_the_constraints(name):
    prior = shipped(name).double()
    regularizer = prior.regularizer(dtype=DOUBLE)
    assert max(constraint_errors(prior, regularizer)) <= 1e-14
    D = regularizer.dictionary.flatten(1).numpy()
    singular = np.linalg.svd(D, compute_uv=False)
    assert abs(regularizer.beta * singular[0] ** 2 - 0.99) <= 1e-12
    assert int((singular > 1e-10).sum()) == 48
    norms = np.linalg.norm(D, axis=1)
    assert np.ptp(norms) <= 1e-14
    assert sum(p.numel() for p in prior.parameters()) == 54281


@pytest.mark.parametrize("name", NAMES)
def test_the_dictionary_is_that_of_the_written_recipe(name):
    """Raw tensors to D in plain numpy: centre, Bjorck, project, normalise, one common scale."""
    prior = shipped(name)
    raw = {key: value.double().numpy() for key, value in prior.state_dict().items()}
    H = raw["free_atoms"].reshape(120, 169)
    H = H - H.mean(axis=1, keepdims=True)
    H = H / np.linalg.norm(H, 2)
    for _ in range(15):
        H = 1.5 * H - 0.5 * H @ H.T @ H
    A = raw["atoms"].reshape(200, 169)
    A = A - A.mean(axis=1, keepdims=True)
    A = A - A @ H.T @ H
    A = A / np.linalg.norm(A, axis=1, keepdims=True)
    beta = max(float(raw["beta"]), 0.0)
    D = A * np.sqrt(0.99 / beta) / np.linalg.norm(A, 2)
    found = prior.regularizer(dtype=DOUBLE)
    assert found.beta == beta
    assert np.abs(found.dictionary.flatten(1).numpy() - D).max() <= 1e-12
    sign = 1 if name.startswith("ncpr") else -1
    scales = prior.settings.base_scale * np.exp(sign * raw["scaling"])
    assert np.abs(found.scales.numpy() / scales - 1).max() <= 1e-14
    assert found.potential.name in ("power", "l0norm") if sign > 0 else found.potential.block == 2


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
@pytest.mark.parametrize("start", ["published", "fresh"])
def test_constraints_hold_after_a_step_of_adam(dtype, start):
    prior = shipped("ncpr_sigma25") if start == "published" else PatchPrior(PatchPriorSettings())
    prior = prior.to(dtype)
    before = {key: value.clone() for key, value in prior.state_dict().items()}
    optimizer = torch.optim.Adam(prior.parameters(), lr=2e-4)
    made = prior()
    target = torch.randn(200, 13, 13, generator=torch.Generator().manual_seed(0), dtype=dtype)
    loss = (
        (made.dictionary - target).abs().mean() + made.scales.sum() + made.basis[:, 3].abs().sum()
    )
    (loss * made.beta).backward()
    optimizer.step()
    assert all(not torch.equal(before[k], v) for k, v in prior.state_dict().items())
    with torch.no_grad():
        made = prior()
    limit = 1e-12 if dtype == DOUBLE else 1e-6
    assert max(constraint_errors(prior, made)) <= limit
    largest = torch.linalg.matrix_norm(made.dictionary.flatten(1).double(), 2)
    assert float(made.beta * largest**2) == pytest.approx(0.99, abs=1e-6)


@pytest.mark.parametrize("removal", ["learned", "dct", "none"])
def test_what_is_removed_is_not_penalised(removal):
    prior = small(removal=removal)
    regularizer = prior.regularizer(dtype=DOUBLE)
    assert regularizer.basis.shape == (24 if removal == "none" else 12, 5, 5)
    assert ("free_atoms" in dict(prior.named_parameters())) == (removal == "learned")
    kept = prior.smooth_basis().detach().flatten(1)
    U = regularizer.basis.flatten(1)
    projector = torch.eye(25, dtype=DOUBLE) - kept.mT @ kept - 1 / 25
    assert float((U.mT @ U - projector).abs().max()) <= 1e-14


@pytest.mark.parametrize("removal", ["learned", "dct", "none"])
@pytest.mark.parametrize("potential", ["power", "group"])
@pytest.mark.parametrize("initial_beta", [0.7, 0.06])
def test_the_gradient_is_that_of_finite_differences(removal, potential, initial_beta):
    """Of functions that do not depend on which basis of the penalised subspace U is."""
    prior = small(removal=removal, potential=potential, initial_beta=initial_beta)
    generator = torch.Generator().manual_seed(7)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=DOUBLE)

    gram, projector, scales = random(25, 25), random(25, 25), random(14)

    def value() -> torch.Tensor:
        made = prior()
        D, U = made.dictionary.flatten(1), made.basis.flatten(1)
        linear = (gram * (D.mT @ D)).sum() + (projector * (U.mT @ U)).sum() + (D[:3] ** 3).sum()
        return linear * made.beta**2 + 100 * scales @ made.scales

    parameters = dict(prior.named_parameters())
    gradients = dict(
        zip(parameters, torch.autograd.grad(value(), list(parameters.values())), strict=True)
    )
    for name, parameter in parameters.items():
        size = float(parameter.detach().norm())
        for _ in range(4):
            direction = random(*parameter.shape)
            direction *= size / direction.norm()
            ends = []
            for step in (1e-5, -1e-5):
                with torch.no_grad():
                    parameter += step * direction
                    ends.append(float(value()))
                    parameter -= step * direction
            expected = (ends[0] - ends[1]) / 2e-5
            scale = float(gradients[name].norm() * direction.norm())
            found = float((gradients[name] * direction).sum())
            assert scale > 0
            assert abs(found - expected) <= 1e-7 * max(scale, abs(expected)), name


def test_the_dictionary_has_the_trained_scale_below_a_small_beta():
    """In training ||D||^2 = 0.99 / max(beta, 0.1), for inverse problems 0.99 / beta."""
    for beta in (0.05, 0.1, 0.5):
        prior = small(initial_beta=beta)
        trained = torch.linalg.matrix_norm(prior().factors.detach(), 2) ** 2
        assert float(trained) == pytest.approx(0.99 / max(beta, 0.1), rel=1e-6)
        used = torch.linalg.matrix_norm(prior.regularizer(dtype=DOUBLE).factors, 2) ** 2
        assert float(used) == pytest.approx(0.99 / beta, rel=1e-6)
        given = torch.linalg.matrix_norm(prior(beta=0.02).factors.detach(), 2) ** 2
        assert float(given) == pytest.approx(0.99 / 0.02, rel=1e-12)


def test_beta_and_base_scale_can_be_given():
    prior = small()
    own, other = prior.regularizer(dtype=DOUBLE), prior.regularizer(beta=0.5, dtype=DOUBLE)
    assert other.beta == 0.5
    ratio = (own.beta / 0.5) ** 0.5
    assert torch.allclose(other.factors, own.factors * ratio, rtol=1e-13)
    assert torch.equal(other.basis, own.basis)
    twice = prior.regularizer(base_scale=0.025, dtype=DOUBLE)
    assert torch.allclose(twice.scales, 2 * own.scales, rtol=1e-14)
    assert torch.allclose(prior(base_scale=0.025).scales, twice.scales, rtol=1e-14)
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match=r"beta is .*; expected a positive number"):
            prior.regularizer(beta=wrong)
        with pytest.raises(UsageError, match=r"beta is .*; expected a positive number"):
            prior(beta=wrong)
        with pytest.raises(UsageError, match="regularization_weight is"):
            prior.regularizer(base_scale=wrong)


def test_a_dead_beta_is_refused_and_softplus_has_none():
    dead = small(beta_map="relu")
    with torch.no_grad():
        dead.beta.fill_(-0.3)
    with pytest.raises(DataError, match="beta is 0; expected a positive number"):
        dead.regularizer()
    assert dead.regularizer(beta=1.0).beta == 1.0
    alive = small()
    with torch.no_grad():
        alive.beta.fill_(-3)
    made = alive()
    (slope,) = torch.autograd.grad(made.beta, alive.beta)
    assert 0 < float(made.beta.detach()) < 0.05
    assert float(slope) > 0


def test_scales_that_overflow_are_refused():
    prior = small()
    with torch.no_grad():
        prior.scaling[2] = 1e4
    with pytest.raises(DataError, match="a scale of its atoms"):
        prior.regularizer()


def test_the_regulariser_is_single_precision_made_in_double():
    prior = shipped("cpr_sigma25")
    single, double = prior.regularizer(), prior.regularizer(dtype=DOUBLE)
    for name in ("basis", "factors", "scales"):
        found = getattr(single, name)
        assert found.dtype == torch.float32
        assert not found.requires_grad
        assert torch.equal(found, getattr(double, name).float())
    again = prior.regularizer()
    assert torch.equal(single.basis, again.basis)
    assert torch.equal(single.factors, again.factors)


def test_fresh_parameters_come_from_the_seed_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second, other = (PatchPrior(PatchPriorSettings(**SMALL), seed=s) for s in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first.atoms, second.atoms)
    assert not torch.equal(first.atoms, other.atoms)
    assert not first.scaling.any()
    spread = float(PatchPrior(PatchPriorSettings()).atoms.detach().std())
    assert spread == pytest.approx(1 / 3000, rel=0.02)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"patch": 6}, "6 is even"),
        ({"free_atoms": 24}, "expected at most 23"),
        ({"free_atoms": 0}, "expected at least 1 for the removal learned"),
        ({"order": 1.0}, "greater than 1"),
        ({"block": 3}, "1 or 2"),
        ({"initial_beta": 0.0}, "greater than 0"),
        ({"orthonormalization_steps": 3}, "greater than or equal to 15"),
        ({"atom": 3}, "not permitted"),
    ],
)
def test_settings_that_make_no_model_are_refused(changes, said):
    with pytest.raises(ValidationError, match=said):
        PatchPriorSettings(**{**SMALL, **changes})


def write(path, prior, *, method="ncpr", state=None, **changes):
    header = {
        "method": method,
        "architecture": {**prior.settings.model_dump(mode="json"), **changes},
        "architecture_version": ARCHITECTURE_VERSION,
    }
    return save_weights(path, state or prior.state_dict(), header, {"licence": "CC0"})


@pytest.mark.parametrize("removal", ["learned", "dct", "none"])
def test_weights_that_were_written_come_back(tmp_path, removal):
    prior = PatchPrior(PatchPriorSettings(**SMALL, removal=removal), seed=3)
    found = load_patch_prior(write(tmp_path / "mine.safetensors", prior), method="ncpr")
    assert (found.name, found.card, found.settings) == ("mine", {"licence": "CC0"}, prior.settings)
    assert torch.equal(found.regularizer().dictionary, prior.regularizer().dictionary)
    assert not found.training


def test_weights_that_do_not_fit_are_one_line(tmp_path):
    prior = PatchPrior(PatchPriorSettings(**SMALL))
    state = prior.state_dict()
    lacking = {key: value for key, value in state.items() if key != "free_atoms"}
    cases = [
        (write(tmp_path / "a.safetensors", prior, atoms=15), "'atoms' has shape .14, 1, 5, 5."),
        (write(tmp_path / "b.safetensors", prior, kernel=5), "kernel: extra inputs"),
        (write(tmp_path / "c.safetensors", prior, patch=6), "patch: value error, 6 is even"),
        (write(tmp_path / "d.safetensors", prior, potential="group"), "potential 'group'"),
        (write(tmp_path / "e.safetensors", prior, state=lacking), "'free_atoms' has shape none"),
        (write(tmp_path / "f.safetensors", prior, state={**state, "x": state["beta"]}), "'x'"),
        (
            write(tmp_path / "g.safetensors", prior, state={**state, "beta": torch.tensor(1)}),
            "'beta' is torch.int64; expected real numbers",
        ),
        (write(tmp_path / "h.safetensors", prior, method="cpr"), "weights of the method 'cpr'"),
    ]
    for path, said in cases:
        with pytest.raises(DataError, match=said) as caught:
            load_patch_prior(path, method="ncpr")
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="Did you mean 'ncpr'"):
        load_patch_prior("ncpr_sigma25", method="ncprr")
    with pytest.raises(UsageError, match="Did you mean 'cpr_sigma25'"):
        load_patch_prior("ncpr_sigma25", method="cpr")
