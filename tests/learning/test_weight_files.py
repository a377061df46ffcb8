"""Weights files: what comes back, and what is refused in one line."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.learning import weight_files
from lowfield_recon.learning.tensor_files import write_tensors
from lowfield_recon.learning.weight_files import (
    FORMAT,
    SHIPPED,
    available_weights,
    load_weights,
    save_weights,
)

HEADER = {"method": "toy", "architecture": {"width": 4}, "architecture_version": 2}
STATE = {
    "w": torch.linspace(-1, 1, 6).reshape(2, 3).T,
    "counts": torch.tensor([3, 4]),
    "z": torch.tensor([1 + 2j]),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return save_weights(tmp_path / "small.safetensors", STATE, HEADER, {"licence": "CC0"})


def test_weights_come_back_as_they_were(path):
    found = load_weights(path, method="toy", architecture_version=2)
    assert found.name == "small"
    assert found.state.keys() == STATE.keys()
    for name, tensor in STATE.items():
        assert torch.equal(found.state[name], tensor)
        assert found.state[name].dtype == tensor.dtype
    assert found.header == {"format": FORMAT, "version": 1, **HEADER}
    assert found.card == {"licence": "CC0"}
    assert load_file(path).keys() == STATE.keys()


def test_the_card_beside_them_says_the_same(path):
    card = json.loads(path.with_suffix(".json").read_text())
    assert card == {"format": FORMAT, "version": 1, **HEADER, "licence": "CC0"}


def test_weights_are_found_by_name(path, monkeypatch):
    monkeypatch.setattr(weight_files, "SHIPPED", path.parent)
    other = {**HEADER, "method": "other"}
    save_weights(path.with_name("other.safetensors"), STATE, other, {})
    assert available_weights("toy") == ("small",)
    assert available_weights("other", path.parent) == ("other",)
    assert load_weights("small", method="toy").card == {"licence": "CC0"}
    with pytest.raises(UsageError, match=r"Did you mean 'small'\? Known: small\."):
        load_weights("smal", method="toy")
    with pytest.raises(UsageError, match="None ship for 'third'"):
        load_weights("small", method="third")


def test_every_weights_file_that_ships_is_whole_and_has_its_card():
    for path in sorted(SHIPPED.glob("*.safetensors")) if SHIPPED.is_dir() else []:
        method = json.loads(path.with_suffix(".json").read_text())["method"]
        found = load_weights(path.stem, method=method)
        assert json.loads(path.with_suffix(".json").read_text()) == {**found.header, **found.card}
        assert path.stat().st_size < 2**20


@pytest.mark.parametrize(
    ("header", "asked", "said"),
    [
        (
            {**HEADER, "format": FORMAT, "version": 1},
            {"method": "cdl-lambda"},
            "weights of the method 'toy'; expected those of 'cdl-lambda'",
        ),
        (
            {**HEADER, "format": FORMAT, "version": 7},
            {"method": "toy"},
            "weights of format version 7; this program reads version 1",
        ),
        (
            {**HEADER, "format": FORMAT, "version": 1},
            {"method": "toy", "architecture_version": 3},
            "weights of version 2 of the networks of 'toy'; this program has version 3",
        ),
        (
            {"method": "toy", "format": FORMAT, "version": 1},
            {"method": "toy"},
            "does not state the architecture",
        ),
        ({**HEADER, "format": "x"}, {"method": "toy"}, "holds no weights of lowfield-recon"),
        (None, {"method": "toy"}, "holds no weights of lowfield-recon"),
    ],
)
def test_other_weights_are_refused_by_name(tmp_path, header, asked, said):
    path = write_tensors(tmp_path / "a.safetensors", STATE, {"header": header, "card": {}})
    with pytest.raises(DataError) as caught:
        load_weights(path, **asked)
    assert said in str(caught.value)
    assert str(caught.value).startswith("a.safetensors: ")
    assert "\n" not in str(caught.value)


def test_every_truncation_is_one_line(path):
    whole = path.read_bytes()
    for size in (*range(0, 40), *range(40, len(whole), 17), len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match="truncated") as caught:
            load_weights(path, method="toy")
        assert "\n" not in str(caught.value)


def test_foreign_files_are_one_line(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"w": torch.ones(2)}, path)
    with pytest.raises(DataError, match="of another program"):
        load_weights(path, method="toy")
    for content in (b"PK\x03\x04" * 50, bytes(200), b"\xff" * 200, b"\x02" + bytes(7) + b"[]"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"safetensors"):
            load_weights(path, method="toy")
    with pytest.raises(UsageError, match="there is no such file"):
        load_weights(tmp_path / "none.safetensors", method="toy")


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was opened",))


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".PT"])
def test_pickles_are_answered_without_opening_them(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(UsageError, match=r"weights_only=True.*save_weights"):
        load_weights(path, method="toy")
    disguised = path.rename(tmp_path / "model.safetensors")
    with pytest.raises(DataError, match="no safetensors file"):
        load_weights(disguised, method="toy")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, value):
    state = {"fine": torch.ones(2), "odd": torch.tensor([1.0, value])}
    with pytest.raises(DataError, match="the weight 'odd' holds NaN or infinite"):
        save_weights(tmp_path / "a.safetensors", state, HEADER, {})
    record = {"header": {**HEADER, "format": FORMAT, "version": 1}, "card": {}}
    path = write_tensors(tmp_path / "a.safetensors", state, record)
    with pytest.raises(DataError, match="the weight 'odd' holds NaN or infinite"):
        load_weights(path, method="toy")


def test_a_header_without_its_method_is_not_written(tmp_path):
    with pytest.raises(DataError, match="weights of the method 'None'"):
        save_weights(tmp_path / "a.safetensors", STATE, {"architecture": "set"}, {})
    with pytest.raises(UsageError, match=r"weights end in \.safetensors"):
        save_weights(tmp_path / "a.pt", STATE, HEADER, {})
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_weights(path, monkeypatch):
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_weights(path, STATE, HEADER, {"what": object()})
    assert path.read_bytes() == before
    assert load_weights(path, method="toy").card == {"licence": "CC0"}
