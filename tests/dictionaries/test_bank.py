"""The dictionary record, the shipped bank, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.fft
import torch

from lowfield_recon import Dictionary, DictionaryBank, load_dictionary
from lowfield_recon.dictionaries import cosine_dictionary
from lowfield_recon.errors import DataError, LowfieldReconError, UsageError


def test_the_shipped_bank_loads_by_name_and_states_its_licence() -> None:
    bank = DictionaryBank()
    assert len(bank) > 0
    for name in bank:
        dictionary = load_dictionary(name)
        assert dictionary.n_kernels == bank.entry(name).n_kernels
        assert dictionary.provenance["licence"]


def test_the_cosine_atoms_are_scipys_transform() -> None:
    atoms = cosine_dictionary(5).kernels.double().numpy()
    coefficients = scipy.fft.dctn(atoms, axes=(1, 2), norm="ortho").reshape(24, 25)
    assert np.allclose(np.abs(coefficients).max(1), 1, atol=1e-6)
    assert np.allclose(coefficients[:, 0], 0, atol=1e-6)
    assert len(set(np.abs(coefficients).argmax(1))) == 24


def test_a_bank_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    written = cosine_dictionary(3)
    bank = DictionaryBank.write(tmp_path / "bank", [written])
    assert torch.equal(bank[written.name].kernels, written.kernels)


def test_kernels_of_a_user_are_scaled_to_unit_norm(tmp_path: Path) -> None:
    kernels = np.random.default_rng(0).standard_normal((4, 5, 5))
    np.save(tmp_path / "mine.npy", kernels)
    loaded = load_dictionary(tmp_path / "mine.npy")
    norms = np.linalg.norm(kernels.reshape(4, -1), axis=1)[:, None, None]
    assert np.allclose(loaded.kernels.numpy(), kernels / norms, atol=1e-6)


@pytest.mark.parametrize(
    ("kernels", "words"),
    [
        (torch.full((1, 3, 3), torch.nan), "NaN"),
        (torch.ones(3, 3), "K, ky, kx"),
        (torch.ones(1, 4, 4) / 4, "odd"),
        (torch.stack((torch.ones(3, 3) / 3, torch.zeros(3, 3))), "atom 1 has norm 0"),
        (torch.ones(1, 3, 3, dtype=torch.complex64), "real"),
    ],
)
def test_broken_kernels_are_refused(kernels: torch.Tensor, words: str) -> None:
    with pytest.raises(DataError, match=words):
        Dictionary(kernels=kernels)


def test_a_changed_file_or_index_is_noticed(tmp_path: Path) -> None:
    bank = DictionaryBank.write(tmp_path, [cosine_dictionary(3)])
    index = json.loads((tmp_path / "index.json").read_text())
    index["dictionaries"]["cosine_k3_K8"]["sha256"] = "0" * 64
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match="hash"):
        DictionaryBank(tmp_path)["cosine_k3_K8"]
    (tmp_path / "index.json").write_text("{")
    with pytest.raises(DataError, match="not valid JSON"):
        DictionaryBank(tmp_path)
    index["dictionaries"]["cosine_k3_K8"]["file"] = "../outside.safetensors"
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match="file"):
        DictionaryBank(tmp_path)
    (tmp_path / bank.entry("cosine_k3_K8").file).write_bytes(b"not tensors")
    with pytest.raises(DataError, match="safetensors"):
        bank["cosine_k3_K8"]


@pytest.mark.parametrize("source", ["cosine_k7_K84", "nowhere.npy"])
def test_unknown_names_and_files_are_refused(source: str) -> None:
    with pytest.raises(UsageError, match=r"not in the bank|no such file"):
        load_dictionary(source)


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(LowfieldReconError, match="NumPy array"):
        load_dictionary(tmp_path / "evil.npy")
