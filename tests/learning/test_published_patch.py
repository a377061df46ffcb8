"""The authors' checkpoints: what they become, and what is refused without being run."""

from __future__ import annotations

import copy
import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.files import sha256_of
from lowfield_recon.learning import published_checkpoint
from lowfield_recon.learning.patch_figures import prior_figures
from lowfield_recon.learning.patch_prior import load_patch_prior
from lowfield_recon.learning.published_patch import PUBLISHED, convert_published, load_published
from lowfield_recon.learning.shipped_weights import describe_weights, shipped_weights
from lowfield_recon.learning.weight_files import SHIPPED, load_weights

TABLE = {
    "ncpr_sigma25": ("0.9780", "0.4685", "82.6", "80.8", "1.58e-04", "1.131e-02", "3.01e-02"),
    "cpr_sigma25": ("1.7638", "0.3303", "143.7", "253", "6.95e-04", "2.166e-03", "2.872e-03"),
    "ncpr_sigma5": ("0.2478", "0.8588", "89.1", "22.1", "1.517e-03", "2.650e-03", "4.463e-03"),
    "cpr_sigma5": ("0.1313", "1.3320", "150.6", "19.8", "5.47e-04", "9.58e-04", "1.497e-03"),
}
"""As printed: beta, norm of an atom, L_P, beta L_P, smallest, middle and largest scale."""

KEYS = (
    "beta", "atom_norm", "lipschitz", "beta_lipschitz", "scale_min", "scale_median", "scale_max",
)  # fmt: skip


def like(number: float, printed: str) -> str:
    """Print a number with the digits of another one."""
    mantissa, _, exponent = printed.partition("e")
    digits = len(mantissa.partition(".")[2])
    return f"{number:.{digits}{'e' if exponent else 'f'}}"


@pytest.mark.parametrize("name", TABLE)
def test_the_figures_are_those_of_the_table(name):
    """Once more from the filters themselves; the card says the same."""
    prior = load_patch_prior(name, method=name.partition("_")[0])
    made = prior.regularizer(dtype=torch.float64)
    response = (np.abs(np.fft.fft2(made.basis.numpy(), (64, 64))) ** 2).sum(axis=0)
    scales = np.sort(made.scales.numpy())
    atoms = np.linalg.norm(made.dictionary.numpy(), axis=(1, 2))
    expected = dict(
        zip(
            KEYS,
            (
                made.beta, atoms.max(), response.max(), made.beta * response.max(), scales[0],
                scales[99], scales[199],
            ),
            strict=True,
        )
    )  # fmt: skip
    assert (
        tuple(like(expected[k], p) for k, p in zip(KEYS, TABLE[name], strict=True)) == (TABLE[name])
    )
    constants = {"rank": 48, "beta_dictionary_norm_squared": 0.99}
    assert prior_figures(prior) == pytest.approx({**expected, **constants}, rel=1e-5)
    assert prior.card["figures"] == pytest.approx(prior_figures(prior), rel=1e-5)


@pytest.mark.parametrize("name", TABLE)
def test_the_trace_of_the_projector_and_the_constant(name):
    """The mean over frequencies of the response is 48, and constants are not penalised."""
    basis = load_patch_prior(name, method=name.partition("_")[0]).regularizer(dtype=torch.float64)
    response = torch.fft.fft2(basis.basis, s=(64, 64)).abs().square().sum(0)
    assert float(response.mean()) == pytest.approx(48, abs=1e-12)
    assert float(response[0, 0]) <= 1e-25
    assert float(response.max()) <= 169


@pytest.mark.shared_data
@pytest.mark.parametrize("known", PUBLISHED, ids=lambda known: known.name)
def test_the_published_files_become_what_ships(shared_data, tmp_path, known):
    source = shared_data.parent / "weights" / "ncpr_published" / known.file
    assert sha256_of(source) == known.sha256
    prior = convert_published(source.parent, tmp_path / "a.safetensors")
    convert_published(source, tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert prior.name == known.name
    original = torch.load(source, weights_only=True, map_location="cpu")["state_dict"]
    found = load_weights(tmp_path / "a.safetensors", method=known.method)
    ships = load_weights(known.name, method=known.method)
    assert found.header == ships.header
    assert {**found.card, "figures": 0} == {**ships.card, "figures": 0}
    assert found.card["figures"] == pytest.approx(ships.card["figures"], rel=1e-5)
    for theirs, ours in (
        ("atoms", "atoms"), ("free_atoms", "free_atoms"), ("beta", "beta"),
        ("prox.scaling_lmbda", "scaling"),
    ):  # fmt: skip
        assert torch.equal(ships.state[ours].flatten(), original[theirs].flatten())
        assert torch.equal(found.state[ours], ships.state[ours])
    licence = shared_data.parent / "weights" / "ncpr_published" / "LICENSE"
    assert (SHIPPED / ships.card["licence_file"]).read_text() == licence.read_text()


def test_what_ships_says_its_licence_and_origin():
    for known in PUBLISHED:
        card = describe_weights(known.name).card
        assert card["original"] == {
            "file": known.file, "bytes": 657314, "sha256": known.sha256, "published": True
        }  # fmt: skip
        assert card["licence"] == "MIT"
        text = (SHIPPED / card["licence_file"]).read_text()
        assert card["copyright"] in text
        assert "Permission is hereby granted, free of charge" in text


def test_every_weights_file_that_ships_has_a_summary():
    found = shipped_weights()
    assert {entry.name for entry in found} == {path.stem for path in SHIPPED.glob("*.safetensors")}
    assert [entry.method for entry in found] == sorted(entry.method for entry in found)
    assert all("no summary" not in entry.summary for entry in found)
    assert all(entry.n_bytes < 250_000 for entry in found)


CONFIG = {
    "dict_params": {
        "atom_size": 5, "nb_atoms": 14, "nb_free_atoms": 12, "beta_init": 2.0, "tol": 1e-4,
        "b_solver": "broyden", "b_max_iter": 50,
    },
    "prox_params": {
        "prox_type": "l0norm", "lambda_init": 0.0125, "order": 1.8, "groupsize": 1
    },
    "sigma": 25,
    "exp_name": "NCPR",
    "training_options": {"batch_size": 16, "lr_atoms": 0.0002},
}  # fmt: skip


def make(**changes: object) -> dict[str, object]:
    """Return what a small checkpoint holds."""
    generator = torch.Generator().manual_seed(0)
    state = {
        "atoms": torch.randn(14, 1, 5, 5, generator=generator),
        "free_atoms": torch.randn(12, 1, 5, 5, generator=generator),
        "beta": torch.tensor(0.8),
        "prox.scaling_lmbda": 0.1 * torch.randn(1, 14, 1, 1, generator=generator),
    }
    optimizer = {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": []}
    return {
        "state_dict": state, "config": copy.deepcopy(CONFIG), "optimizer": optimizer, **changes
    }  # fmt: skip


def saved(folder: Path, content: object) -> Path:
    path = folder / "checkpoint.pth"
    torch.save(content, path)
    return path


def with_config(section: str, **changes: object) -> dict[str, object]:
    content = make()
    content["config"][section] |= changes
    return content


def with_state(**changes: object) -> dict[str, object]:
    content = make()
    content["state_dict"] |= changes
    return content


def without(content: dict[str, object], *place: str) -> dict[str, object]:
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    del inner[place[-1]]
    return content


def test_a_checkpoint_of_someone_else_is_converted_and_says_so(tmp_path):
    content = make()
    prior = convert_published(saved(tmp_path, content), tmp_path / "mine.safetensors")
    found = load_patch_prior(tmp_path / "mine.safetensors", method="ncpr")
    assert torch.equal(found.scaling, content["state_dict"]["prox.scaling_lmbda"].flatten())
    assert torch.equal(found.regularizer().dictionary, prior.regularizer().dictionary)
    assert found.settings.beta_map == "relu"
    assert (found.settings.order, found.settings.base_scale) == (1.8, 0.0125)
    card = json.loads((tmp_path / "mine.json").read_text())
    assert card["licence"] == "not known"
    assert card["summary"].endswith("not one of the four published files")
    assert card["original"]["sha256"] == sha256_of(tmp_path / "checkpoint.pth")
    assert prior.name == "checkpoint"


def test_the_group_potential_and_a_missing_optimiser(tmp_path):
    prox = {"prox_type": "l1norm", "lambda_init": 0.002, "order": 1.8, "groupsize": 2}
    content = without(with_config("prox_params", **prox), "optimizer")
    prior = load_published(saved(tmp_path, content).parent)
    made = prior.regularizer(dtype=torch.float64)
    assert (prior.settings.potential, made.potential.block) == ("group", 2)
    raw = content["state_dict"]["prox.scaling_lmbda"].double().flatten()
    assert torch.allclose(made.scales, 0.002 * torch.exp(-raw), rtol=1e-14)


ODD = torch.tensor([float("nan")])

REFUSED = {
    "no state_dict": (lambda: without(make(), "state_dict"), "lacks 'state_dict' or 'config'"),
    "no config": (lambda: without(make(), "config"), "lacks 'state_dict' or 'config'"),
    "a list": (lambda: [1, 2], "lacks 'state_dict' or 'config'"),
    "more keys": (lambda: make(extra=1), "holds 'extra', which does not belong"),
    "state a list": (lambda: make(state_dict=[1]), "state_dict is no dictionary"),
    "no atoms": (lambda: without(make(), "state_dict", "atoms"), "lacks 'atoms'"),
    "no scaling": (
        lambda: without(make(), "state_dict", "prox.scaling_lmbda"), "lacks 'prox.scaling_lmbda'"
    ),
    "more tensors": (lambda: with_state(more=torch.ones(1)), "unknown 'more'"),
    "number": (lambda: with_state(beta=0.5), "'beta' is no plain tensor"),
    "sparse": (lambda: with_state(beta=torch.ones(2).to_sparse()), "'beta' is no plain tensor"),
    "integers": (lambda: with_state(beta=torch.tensor(1)), "torch.int64; expected torch.float32"),
    "complex": (lambda: with_state(beta=torch.tensor(1j)), "'beta' is torch.complex64"),
    "atoms of another size": (
        lambda: with_state(atoms=torch.ones(14, 1, 7, 7)),
        r"'atoms' has shape \(14, 1, 7, 7\), expected \(14, 1, 5, 5\)",
    ),
    "fewer free atoms": (
        lambda: with_state(free_atoms=torch.ones(11, 1, 5, 5)),
        r"'free_atoms' has shape \(11, 1, 5, 5\), expected \(12, 1, 5, 5\)",
    ),
    "vast": (
        lambda: with_state(atoms=torch.ones(1).expand(10**6, 10**6)), "infinite values, or too many"
    ),
    "flat scaling": (
        lambda: with_state(**{"prox.scaling_lmbda": torch.ones(14)}), r"expected \(1, K, 1, 1\)"
    ),
    "longer scaling": (
        lambda: with_state(**{"prox.scaling_lmbda": torch.ones(1, 15, 1, 1)}),
        r"'scaling' has shape \(15,\)",
    ),
    "not finite": (lambda: with_state(beta=ODD[0]), "'beta' holds NaN"),
    "no lambda_init": (
        lambda: without(make(), "config", "prox_params", "lambda_init"),
        "wrong at 'prox_params.lambda_init' .field required",
    ),
    "no prox_type": (
        lambda: without(make(), "config", "prox_params", "prox_type"), "prox_params.prox_type"
    ),
    "no order": (lambda: without(make(), "config", "prox_params", "order"), "wrong at 'order'"),
    "no prox": (lambda: without(make(), "config", "prox_params"), "wrong at 'prox_params'"),
    "no sigma": (lambda: without(make(), "config", "sigma"), "wrong at 'sigma'"),
    "config a text": (lambda: make(config="x"), "wrong at 'as a whole'"),
    "another prox": (
        lambda: with_config("prox_params", prox_type="l2norm"), "prox_params.prox_type"
    ),
    "words": (lambda: with_config("prox_params", lambda_init="0.1"), "prox_params.lambda_init"),
    "infinite": (
        lambda: with_config("prox_params", lambda_init=float("inf")), "prox_params.lambda_init"
    ),
    "even patch": (lambda: with_config("dict_params", atom_size=6), "6 is even"),
    "too many atoms": (lambda: with_config("dict_params", nb_atoms=10**9), "wrong at 'atoms'"),
    "grouped l0norm": (lambda: with_config("prox_params", groupsize=2), "expected 1 for an l0norm"),
    "dead beta": (lambda: with_state(beta=torch.tensor(-1.0)), "beta is 0"),
    "dependent": (lambda: with_state(free_atoms=torch.ones(12, 1, 5, 5)), "nearly dependent"),
    "huge scale": (
        lambda: with_state(**{"prox.scaling_lmbda": torch.full((1, 14, 1, 1), 1e6)}), "a scale of"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_other_content_is_refused_in_one_line(tmp_path, case):
    content, said = REFUSED[case]
    path = saved(tmp_path, content())
    with pytest.raises(DataError, match=said) as caught:
        convert_published(path, tmp_path / "out.safetensors")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert not (tmp_path / "out.safetensors").exists()


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("where", ["top", "state", "config", "optimizer"])
def test_code_in_a_checkpoint_is_never_run(tmp_path, where):
    mark = tmp_path / "it ran"
    trap = Trap(mark)
    content = {
        "top": lambda: trap,
        "state": lambda: with_state(beta=trap),
        "config": lambda: with_config("prox_params", order=trap),
        "optimizer": lambda: make(optimizer=trap),
    }[where]()
    path = saved(tmp_path, content)
    with pytest.raises(DataError, match="code could hide; none was run") as caught:
        load_published(path)
    assert "\n" not in str(caught.value)
    assert not mark.exists()
    torch.load(path, weights_only=False)
    assert mark.exists()  # it would have


def test_bare_pickles_are_not_opened(tmp_path):
    mark = tmp_path / "it ran"
    path = tmp_path / "checkpoint.pth"
    path.write_bytes(pickle.dumps(Trap(mark)))
    with pytest.raises(DataError, match="no archive of torch"):
        load_published(path)
    torch.save(make(optimizer=Trap(mark)), path, _use_new_zipfile_serialization=False)
    with pytest.raises(DataError, match="no archive of torch"):
        load_published(path)
    assert not mark.exists()


def test_every_truncation_is_one_line(tmp_path):
    path = saved(tmp_path, make())
    whole = path.read_bytes()
    for size in (*range(1, 30), *range(30, len(whole), 211), len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match="damaged") as caught:
            load_published(path)
        assert "\n" not in str(caught.value)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="is empty"):
        load_published(path)
    path.unlink()
    with pytest.raises(DataError, match="no such checkpoint"):
        load_published(tmp_path)


def test_flipped_bytes_are_read_or_refused_in_one_line(tmp_path):
    path = saved(tmp_path, make())
    whole = bytearray(path.read_bytes())
    generator = torch.Generator().manual_seed(0)
    refused = 0
    for place in torch.randint(len(whole), (150,), generator=generator).tolist():
        flipped = whole.copy()
        flipped[place] ^= 0xFF
        path.write_bytes(flipped)
        try:
            load_published(path)
        except DataError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 0


def test_archives_that_unpack_to_much_are_not_unpacked(tmp_path, monkeypatch):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("checkpoint/data.pkl", bytes(80 * 2**20))
    path = tmp_path / "checkpoint.pth"
    path.write_bytes(content.getvalue())
    assert path.stat().st_size < 2**20
    with pytest.raises(DataError, match="unpacks to"):
        load_published(path)
    monkeypatch.setattr(published_checkpoint, "LARGEST_CHECKPOINT", 1000)
    with pytest.raises(DataError, match="expected a checkpoint of at most 1000"):
        load_published(path)


def test_the_output_ends_in_safetensors(tmp_path):
    with pytest.raises(UsageError, match=r"weights end in \.safetensors"):
        convert_published(saved(tmp_path, make()), tmp_path / "out.pth")
