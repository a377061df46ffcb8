"""Broken dictionaries and banks: one line that says what, from Python and from the command line."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lowfield_recon import InverseProblem, reconstruct
from lowfield_recon.cli.app import main
from lowfield_recon.dictionaries import (
    Dictionary,
    DictionaryBank,
    check_fits,
    cosine_dictionary,
    load_dictionary,
)
from lowfield_recon.errors import LowfieldReconError, UsageError
from lowfield_recon.operators import kspace_operator
from lowfield_recon.resources import sample_path

GOOD = cosine_dictionary(3).kernels.numpy()


def _with(value: float) -> np.ndarray:
    kernels = GOOD.copy()
    kernels[2, 1, 1] = value
    return kernels


def _zero_atom() -> np.ndarray:
    kernels = GOOD.copy()
    kernels[5] = 0
    return kernels


ARRAYS: dict[str, tuple[np.ndarray, str]] = {
    "nan": (_with(np.nan), "NaN or infinite"),
    "inf": (_with(np.inf), "NaN or infinite"),
    "rank2": (GOOD[0], r"expected kernels (K, ky, kx)"),
    "rank5": (GOOD[:, None, None], r"expected kernels (K, ky, kx)"),
    "channels": (np.repeat(GOOD[:, None], 2, axis=1), r"expected kernels (K, ky, kx)"),
    "even": (np.ones((2, 4, 4)), "4x4 have no centre tap"),
    "half even": (np.ones((2, 3, 4)), "3x4 have no centre tap"),
    "zero": (_zero_atom(), "atom 5 has norm 0"),
    "complex": (GOOD.astype(np.complex64), "expected real"),
    "whole": (np.ones((2, 3, 3), dtype=np.int64), "expected real"),
    "empty": (GOOD[:0], "got float32 (0, 3, 3)"),
}


@pytest.mark.parametrize("suffix", [".npy", ".pt", ".safetensors"])
@pytest.mark.parametrize("case", ARRAYS)
def test_broken_arrays_are_refused(tmp_path, capsys, case, suffix):
    array, words = ARRAYS[case]
    path = tmp_path / f"mine{suffix}"
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if suffix == ".npy":
        np.save(path, array)
    elif suffix == ".pt":
        torch.save(tensor, path)
    else:
        save_file({"kernels": tensor}, path)
    _refused(capsys, path, words)


def _claims_much_npy(path: Path) -> None:
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (10**6, 10**4, 10**4)}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(100))


def _claims_much_safetensors(path: Path) -> None:
    header = json.dumps(
        {"kernels": {"dtype": "F32", "shape": [2**40, 3, 3], "data_offsets": [0, 36]}}
    ).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(36))


def _two_tensors(path: Path) -> None:
    torch.save({"a": torch.from_numpy(GOOD), "b": torch.from_numpy(GOOD)}, path)


def _zip_bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(80 * 2**20))


def _archive(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, a=GOOD)


def _module(path: Path) -> None:
    torch.save(torch.nn.Conv2d(1, 2, 3), path)


FILES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "claims.npy": (_claims_much_npy, "expected a NumPy array"),
    "claims.safetensors": (_claims_much_safetensors, "not a safetensors file"),
    "stretched.pt": (lambda p: torch.save(torch.ones(1).expand(9**5, 33, 33), p), "claims"),
    "bomb.pt": (_zip_bomb, "unpacked"),
    "module.pt": (_module, "expected a tensor of kernels"),
    "list.pt": (lambda p: torch.save([1, 2], p), "got list"),
    "two.pt": (_two_tensors, "expected one tensor"),
    "noise.pt": (lambda p: p.write_bytes(bytes(range(256))), "cannot read it"),
    "void.pt": (lambda p: p.touch(), "cannot read it"),
    "void.npy": (lambda p: p.touch(), "NumPy array"),
    "void.safetensors": (lambda p: p.touch(), "not a safetensors file"),
    "archive.npy": (_archive, "found an archive"),
    "sparse.pt": (lambda p: torch.save(torch.eye(3).to_sparse(), p), "expected real"),
}


@pytest.mark.parametrize("name", FILES)
def test_broken_files_are_refused(tmp_path, capsys, name):
    write, words = FILES[name]
    write(tmp_path / name)
    _refused(capsys, tmp_path / name, words)


def test_files_too_large_to_be_a_dictionary_are_not_read(tmp_path, capsys):
    path = tmp_path / "large.npy"
    with path.open("wb") as file:
        file.truncate(65 * 2**20)
    _refused(capsys, path, "a dictionary has at most")


def test_the_record_refuses_what_is_no_tensor():
    with pytest.raises(LowfieldReconError, match="torch tensor"):
        Dictionary(kernels=GOOD)  # type: ignore[arg-type]


INDICES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "not an object": (lambda index: [index], "schema 1"),
    "another schema": (lambda index: {**index, "schema": 2}, "schema 1"),
    "no dictionaries": (lambda _: {"schema": 1}, "expected an object 'dictionaries'"),
    "a list of them": (lambda _: {"schema": 1, "dictionaries": [1]}, "expected an object"),
}

ENTRIES: dict[str, tuple[dict[str, Any], str]] = {
    "path outside": ({"file": "../cosine_k3_K8.safetensors"}, "file"),
    "absolute path": ({"file": "/cosine_k3_K8.safetensors"}, "file"),
    "missing file": ({"file": "gone.safetensors"}, "cannot be read"),
    "hash": ({"sha256": "0" * 64}, "do not have the hash"),
    "hash too short": ({"sha256": "0"}, "sha256"),
    "number": ({"n_kernels": 9}, "says 9 kernels of 3x3, the file holds (8, 3, 3)"),
    "size": ({"kernel_size": [5, 5]}, "says 8 kernels of 5x5"),
    "convention": ({"convention": "cross-correlation"}, "convention"),
    "unknown key": ({"colour": "red"}, "colour"),
}


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    return DictionaryBank.write(tmp_path / "bank", [cosine_dictionary(3)]).folder


@pytest.mark.parametrize("case", INDICES)
def test_an_index_of_another_shape_is_refused(bank, capsys, case):
    change, words = INDICES[case]
    path = bank / "index.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    _refused_bank(capsys, bank, words)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe{}", b"[" * 100_000, b""])
def test_an_index_that_is_no_json_is_refused(bank, capsys, content):
    (bank / "index.json").write_bytes(content)
    _refused_bank(capsys, bank, "not valid JSON")


@pytest.mark.parametrize("case", ENTRIES)
def test_an_entry_that_does_not_hold_is_refused(bank, capsys, case):
    change, words = ENTRIES[case]
    path = bank / "index.json"
    index = json.loads(path.read_text())
    index["dictionaries"]["cosine_k3_K8"].update(change)
    path.write_text(json.dumps(index))
    _refused_bank(capsys, bank, words)


def test_a_folder_without_an_index_is_refused(tmp_path, capsys):
    _refused_bank(capsys, tmp_path, "no readable index")


@pytest.mark.parametrize("size", [(6, 32), (32, 6)])
def test_kernels_larger_than_the_image_are_refused_when_used(size):
    large = cosine_dictionary(7)
    with pytest.raises(UsageError, match=f"7x7 are larger than the image of {size[0]}x{size[1]}"):
        check_fits(large, size)
    check_fits(large, (7, 7))
    data = torch.randn(1, 1, 1, *size, dtype=torch.complex64)
    mask = torch.ones(1, 1, *size)
    problem = InverseProblem(data=data, operator=kspace_operator(mask=mask), noise_std=0.1)
    with pytest.raises(UsageError, match="larger than the image"):
        reconstruct(problem, "cdl", dictionary=large)


def test_the_command_line_refuses_kernels_larger_than_the_image(tmp_path, capsys):
    kernels = torch.randn(1, 201, 201)
    torch.save(kernels / kernels.norm(), tmp_path / "huge.pt")
    words = ["-o", str(tmp_path / "out.npy"), "--method", "cdl", "--slices", "0"]
    scan = str(sample_path("brain_0055t_t2w.h5"))
    code = main(["reconstruct", scan, *words, "--dictionary", str(tmp_path / "huge.pt")])
    _one_line(capsys, code, "201x201 are larger than the image")
    assert not (tmp_path / "out.npy").exists()


def _refused(capsys: pytest.CaptureFixture[str], path: Path, words: str) -> None:
    with pytest.raises(LowfieldReconError) as caught:
        load_dictionary(path)
    assert words in str(caught.value)
    _one_line(capsys, main(["dictionary", "show", str(path)]), words)


def _refused_bank(capsys: pytest.CaptureFixture[str], folder: Path, words: str) -> None:
    with pytest.raises(LowfieldReconError) as caught:
        _ = DictionaryBank(folder)["cosine_k3_K8"]
    assert words in str(caught.value)
    code = main(["dictionary", "show", "cosine_k3_K8", "--bank", str(folder)])
    _one_line(capsys, code, words)


def _one_line(capsys: pytest.CaptureFixture[str], code: int, words: str) -> None:
    said = capsys.readouterr()
    assert code in (1, 2)
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert "unexpected" not in said.err
    assert words in said.err
