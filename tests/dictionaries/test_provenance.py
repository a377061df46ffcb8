"""Constants in the record of a dictionary, against dense computations; the completed index."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from lowfield_recon.cli.app import main
from lowfield_recon.dictionaries import Dictionary, DictionaryBank, cosine_dictionary
from lowfield_recon.dictionaries.provenance import derived_facts


def test_the_constants_are_those_of_numpys_transform():
    kernels = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0))
    kernels /= kernels.flatten(1).norm(dim=1)[:, None, None]
    # Moving a kernel turns phases only, so that its place on the grid does not matter.
    power = np.abs(np.fft.fftshift(np.fft.fft2(kernels.double().numpy(), (320, 320)), (1, 2))) ** 2
    gains = np.sqrt(power[:, 80:240, 80:240].sum((1, 2)) / 320**2)
    found = derived_facts(Dictionary(kernels=kernels))
    assert found["lipschitz_320"] == pytest.approx(power.sum(0).max(), rel=1e-8)
    assert found["noise_gain_160_of_320"] == pytest.approx(gains, rel=1e-4)


def test_the_index_is_completed_and_the_kernels_stay(tmp_path, capsys):
    learnt = Dictionary(
        kernels=cosine_dictionary(5).kernels, name="learnt", provenance={"options": {"seed": 0}}
    )
    bank = DictionaryBank.write(tmp_path, [cosine_dictionary(3), learnt])
    before = {name: (tmp_path / bank.entry(name).file).read_bytes() for name in bank}
    assert main(["dictionary", "index", str(tmp_path), "--code-version", "0.1.0"]) == 0
    assert "2 dictionaries" in capsys.readouterr().out
    after = DictionaryBank(tmp_path)
    assert {name: (tmp_path / after.entry(name).file).read_bytes() for name in after} == before
    made, cosine = after.entry("learnt").provenance, after.entry("cosine_k3_K8").provenance
    assert (made["code_version"], made["options"]) == ("0.1.0", {"seed": 0})
    assert "code_version" not in cosine
    assert cosine["licence"] == "Apache-2.0"
    assert made["lipschitz_320"] == derived_facts(learnt)["lipschitz_320"]


def test_a_version_that_is_stated_is_not_overwritten(tmp_path):
    learnt = Dictionary(
        kernels=cosine_dictionary(3).kernels, name="learnt",
        provenance={"options": {}, "code_version": "0.0.9"},
    )  # fmt: skip
    bank = DictionaryBank.write(tmp_path, [learnt]).completed("0.1.0")
    assert bank.entry("learnt").provenance["code_version"] == "0.0.9"


def test_a_bank_that_was_changed_is_not_completed(tmp_path, capsys):
    DictionaryBank.write(tmp_path, [cosine_dictionary(3)])
    path = tmp_path / "index.json"
    index = json.loads(path.read_text())
    index["dictionaries"]["cosine_k3_K8"]["sha256"] = "0" * 64
    path.write_text(json.dumps(index))
    before = path.read_bytes()
    assert main(["dictionary", "index", str(tmp_path)]) == 1
    assert "hash" in capsys.readouterr().err
    assert path.read_bytes() == before
