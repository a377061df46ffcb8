"""Dictionaries that a user brings: files of every kind, conventions, records, notes."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import torch
from safetensors.torch import save_file

from lowfield_recon.cli.app import main
from lowfield_recon.dictionaries import DictionaryBank, cosine_dictionary, load_dictionary
from lowfield_recon.dictionaries.loading import write_dictionary
from lowfield_recon.errors import UsageError
from lowfield_recon.solvers.convolutional_model import filter_spectra, synthesise


def _unit(*shape: int, seed: int = 0) -> torch.Tensor:
    kernels = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return kernels / kernels.flatten(1).norm(dim=1)[:, None, None]


def _saved(path: Path, kernels: torch.Tensor) -> Path:
    if path.suffix == ".npy":
        np.save(path, kernels.numpy())
    elif path.suffix == ".safetensors":
        save_file({"kernels": kernels.contiguous()}, path)
    else:
        torch.save(kernels, path)
    return path


@pytest.mark.parametrize("suffix", [".npy", ".safetensors", ".pt", ".pth"])
@pytest.mark.parametrize("has_channel", [False, True])
def test_every_kind_of_file_gives_the_same_dictionary(tmp_path, suffix, has_channel):
    kernels = _unit(4, 5, 7)
    path = _saved(tmp_path / f"mine{suffix}", kernels[:, None] if has_channel else kernels)
    assert torch.equal(load_dictionary(path).kernels, kernels)


@pytest.mark.parametrize("content", [{"filters": 0}, {"kernels": 0}, {"filters": 0, "beta": 0.25}])
def test_a_dict_that_holds_one_tensor(tmp_path, content):
    kernels = _unit(4, 5, 5)
    torch.save({k: kernels if v == 0 else v for k, v in content.items()}, tmp_path / "mine.pt")
    assert torch.equal(load_dictionary(tmp_path / "mine.pt").kernels, kernels)


def test_half_and_double_precision_are_read(tmp_path):
    kernels = _unit(4, 5, 5)
    for dtype, tolerance in ((torch.float64, 1e-7), (torch.bfloat16, 1e-2)):
        loaded = load_dictionary(_saved(tmp_path / "mine.pt", kernels.to(dtype)))
        assert loaded.kernels.dtype == torch.float32
        assert torch.allclose(loaded.kernels, kernels, atol=tolerance)


def test_a_cross_correlation_synthesises_the_same_image(tmp_path):
    kernels = _unit(3, 5, 5)
    codes = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(1))
    expected = sum(
        scipy.ndimage.correlate(s.numpy(), d.numpy(), mode="wrap")
        for s, d in zip(codes, kernels, strict=True)
    )
    path = _saved(tmp_path / "theirs.npy", kernels)
    loaded = load_dictionary(path, convention="cross-correlation")
    spectra = filter_spectra(loaded.kernels, (16, 16))
    image = synthesise(spectra, codes[:, None].to(torch.complex64))[0].real
    # scipy's correlation is sum_t s(x + t) d(t), which is what cross-correlation means here.
    assert np.allclose(image.numpy(), expected, atol=1e-5)
    assert loaded.provenance["convention"] == "convolution"
    assert loaded.provenance["convention_of_file"] == "cross-correlation"


def test_norms_are_made_one_with_a_note_and_a_warning(tmp_path, caplog):
    path = _saved(tmp_path / "loud.npy", 3 * _unit(4, 5, 5))
    with caplog.at_level(logging.WARNING):
        loaded = load_dictionary(path)
    assert torch.allclose(loaded.kernels, _unit(4, 5, 5), atol=1e-6)
    assert loaded.provenance["notes"] == ["kernels had norms of 3 to 3 and were divided by them"]
    assert "norms of 3 to 3" in caplog.text


def test_unit_norms_pass_without_a_word(tmp_path, caplog):
    loaded = load_dictionary(_saved(tmp_path / "mine.npy", _unit(4, 5, 5)))
    assert "notes" not in loaded.provenance
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("stem", "shape", "weight", "beta"),
    [
        ("4_5x5_lam01_lhp025", (4, 1, 5, 5), 0.1, 0.25),
        ("4_5x5_lam2_lhp05", (4, 1, 5, 5), 2.0, 0.5),
        ("4_5x5_lam40_lhp01", (4, 1, 5, 5), 4.0, 0.1),
        ("K4_k5x5_sparsity_param0_1_lowpass_param0_2", (4, 5, 5), 0.1, 0.2),
        ("K4_k5x5_sparsity_param4_lowpass_param0_5", (4, 5, 5), 4.0, 0.5),
    ],
)
def test_published_file_names_become_provenance(tmp_path, stem, shape, weight, beta):
    kernels = _unit(4, 5, 5).reshape(shape)
    loaded = load_dictionary(_saved(tmp_path / f"{stem}.pt", kernels))
    expected = {"n_kernels": 4, "kernel_size": [5, 5], "weight": weight, "beta": beta}
    assert loaded.provenance["options"] == expected
    assert loaded.provenance["options_from"] == "file name"


def test_a_name_that_the_kernels_contradict_is_not_trusted(tmp_path):
    path = _saved(tmp_path / "32_11x11_lam01_lhp025.pt", _unit(4, 5, 5))
    loaded = load_dictionary(path)
    assert "options" not in loaded.provenance
    assert "says 32 kernels of 11x11, it holds 4 of 5x5" in loaded.provenance["notes"][0]


def test_the_record_beside_a_file_is_read_if_it_is_of_these_kernels(tmp_path):
    path = tmp_path / "mine.safetensors"
    write_dictionary(cosine_dictionary(5), path, {"source": "here"})
    loaded = load_dictionary(path)
    assert (loaded.provenance["source"], loaded.provenance["licence"]) == ("here", "Apache-2.0")
    assert len(loaded.provenance["noise_gain_160_of_320"]) == loaded.n_kernels
    _saved(path, _unit(4, 5, 5))
    assert "licence" not in load_dictionary(path).provenance


def test_a_dictionary_of_another_bank_by_folder_and_name(tmp_path):
    DictionaryBank.write(tmp_path / "bank", [cosine_dictionary(3)])
    assert load_dictionary(tmp_path / "bank" / "cosine_k3_K8").n_kernels == 8
    with pytest.raises(UsageError, match="cosine_k3_K8"):
        load_dictionary(tmp_path / "bank")
    with pytest.raises(UsageError, match="Did you mean 'cosine_k3_K8'"):
        load_dictionary(tmp_path / "bank" / "cosine_k3_K9")


@pytest.mark.parametrize(
    ("source", "convention", "words"),
    [
        ("mine.npy", "correlation", "Did you mean 'cross-correlation'"),
        ("cosine_k7_K48", "cross-correlation", "concerns files"),
        (3, "convolution", "expected a name, a path or a Dictionary, got int"),
        ("mine.mat", "convolution", "save the kernels"),
        ("no/such/folder/d", "convolution", "save the kernels"),
    ],
)
def test_what_cannot_be_meant_is_refused(source, convention, words):
    with pytest.raises(UsageError, match=words):
        load_dictionary(source, convention=convention)


def test_convert_writes_what_loads_again_with_its_history(tmp_path, capsys):
    kernels = _unit(4, 5, 5)
    theirs = _saved(tmp_path / "4_5x5_lam01_lhp025.pt", 2 * kernels[:, None])
    out = tmp_path / "ours.safetensors"
    words = ["dictionary", "convert", str(theirs), "-o", str(out), "--licence", "CC0-1.0"]
    assert main([*words, "--convention", "cross-correlation"]) == 0
    loaded = load_dictionary(out)
    assert torch.allclose(loaded.kernels, kernels.flip(-2, -1), atol=1e-6)
    record = json.loads(out.with_suffix(".json").read_text())
    assert record["licence"] == "CC0-1.0"
    assert record["options"]["weight"] == 0.1
    assert record["convention"] == "convolution"
    assert len(record["notes"]) == 2
    assert "4 kernels of 5x5" in capsys.readouterr().out


def test_a_convention_does_not_go_with_a_bank(tmp_path, capsys):
    DictionaryBank.write(tmp_path, [cosine_dictionary(3)])
    words = ["dictionary", "show", "cosine_k3_K8", "--bank", str(tmp_path)]
    assert main([*words, "--convention", "cross-correlation"]) == 2
    assert "leave out --bank" in capsys.readouterr().err
    assert main(words) == 0
