"""Images for learning, dictionaries with their record, and the bank that a pipeline makes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lowfield_recon.cli.app import main
from lowfield_recon.dictionaries import DictionaryBank, load_dictionary
from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.pipeline.dictionary_building import training_images, write_bank


def _volume(seed: int = 0) -> np.ndarray:
    y, x = np.mgrid[:40, :36]
    phase = np.random.default_rng(seed).uniform(0, 3, size=3)
    return np.stack([np.sin(0.4 * y + p) * np.cos(0.3 * x) > 0.1 for p in phase], axis=-1) + 0.1


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "a.npy", tmp_path / "b.npy"]
    for seed, path in enumerate(paths):
        np.save(path, _volume(seed))
    return paths


def test_slices_are_found_along_any_axis(images):
    found = training_images(images, slice_axis=2)
    assert [tuple(image.shape) for image in found] == [(40, 36)] * 6
    assert np.allclose(found[1].numpy(), _volume(0)[..., 1])


def test_reduction_keeps_the_centre_of_kspace(images):
    (whole, *_), (half, *_) = (training_images(images, slice_axis=2, reduction=r) for r in (1, 2))
    assert half.shape == (20, 18)
    assert float(half.mean()) == pytest.approx(float(whole.mean()), rel=0.05)


def test_photographs_become_grey_and_zero_slices_are_left_out(tmp_path):
    from PIL import Image

    Image.fromarray(np.full((32, 24, 3), 51, dtype=np.uint8)).save(tmp_path / "a.png")
    (image,) = training_images([tmp_path / "a.png"], crop=16)
    assert image.shape == (16, 16)
    assert torch.allclose(image, torch.tensor(0.2))
    np.save(tmp_path / "zero.npy", np.zeros((2, 16, 16)))
    with pytest.raises(DataError, match="no slice"):
        training_images([tmp_path / "zero.npy"])


def test_what_cannot_be_meant_is_refused(images, tmp_path):
    with pytest.raises(DataError, match="axis 5"):
        training_images(images, slice_axis=5)
    with pytest.raises(UsageError, match="reduction"):
        training_images(images, reduction=0)
    with pytest.raises(DataError, match="record"):
        write_bank([tmp_path / "none.safetensors"], tmp_path / "bank")


def test_build_show_and_compare(images, tmp_path, capsys):
    out, atoms = tmp_path / "mine.safetensors", tmp_path / "atoms.png"
    words = ["dictionary", "build", *map(str, images), "-o", str(out), "--kernels", "4"]
    assert main([*words, "--size", "5", "--slice-axis", "2", "--licence", "CC0-1.0"]) == 0
    record = json.loads(out.with_suffix(".json").read_text())
    assert record["options"]["kernel_size"] == 5
    assert (record["licence"], record["n_images"], len(record["usage"])) == ("CC0-1.0", 6, 4)
    assert load_dictionary(out).kernels.shape == (4, 5, 5)
    assert main(["dictionary", "show", str(out), "-o", str(atoms)]) == 0
    assert main(["dictionary", "compare", str(out), "cosine_k7_K48"]) == 0
    from PIL import Image

    with Image.open(atoms) as picture:
        assert picture.size == (2 * 31 + 1, 2 * 31 + 1)
    assert "coherence" in capsys.readouterr().out


def test_the_pipeline_makes_a_bank_and_does_nothing_twice(images, tmp_path, capsys):
    names = ",".join(map(str, images))
    words = [
        "run", "build_bank", f"images={names}", "slice_axis=2", "n_kernels=3,4", "kernel_size=5",
        "weight=0.5", "beta=0.25", "passes=1", "family=test", "-o", str(tmp_path / "out"),
    ]  # fmt: skip
    assert main(words) == 0
    bank = DictionaryBank(tmp_path / "out" / "bank")
    assert bank.names() == ("test_K3_k5_lam0.5_beta0.25", "test_K4_k5_lam0.5_beta0.25")
    found = bank["test_K4_k5_lam0.5_beta0.25"]
    assert found.kernels.shape == (4, 5, 5)
    assert found.provenance["options"]["weight"] == 0.5
    assert [entry["name"] for entry in found.provenance["images"]] == ["a.npy", "b.npy"]
    capsys.readouterr()
    assert main(words) == 0
    assert "0 made, 3 taken from the cache" in capsys.readouterr().out


def test_the_command_for_the_bank_plans_the_published_grid(images, tmp_path, capsys):
    words = ["dictionary", "bank", *map(str, images), "-o", str(tmp_path / "bank"), "--dry-run"]
    assert main([*words, "--slice-axis", "2"]) == 0
    assert "dry run: 97 to run" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["dictionary", "build", "none.npy", "-o", "a.safetensors"], "no such image"),
        (["dictionary", "show", "cosine_k7_K84"], "Did you mean"),
        (["dictionary", "list", "--bank", "nowhere"], "no readable index"),
    ],
)
def test_bad_input_is_one_line(words, text, capsys):
    assert main(words) in (1, 2)
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1
