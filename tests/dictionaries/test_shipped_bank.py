"""The bank that ships: the whole published grid, sound, small, with licence and sources."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from lowfield_recon.dictionaries import DictionaryBank, load_dictionary
from lowfield_recon.errors import UsageError

BANK = DictionaryBank()
GRID = {
    f"brain_K{n}_k{size}_lam{weight}_beta{beta}"
    for n, size, weight, beta in itertools.product(
        ("16", "32", "64", "128"), ("9", "11"), ("0.1", "0.5", "2", "4"), ("0.1", "0.25", "0.5")
    )
}


def test_the_published_grid_is_complete():
    assert len(GRID) == 96
    assert set(BANK.names()) >= GRID


def test_every_dictionary_is_what_the_index_says():
    for name in BANK:
        entry, dictionary = BANK.entry(name), BANK[name]
        assert (dictionary.n_kernels, dictionary.kernel_size) == (
            entry.n_kernels,
            entry.kernel_size,
        )
        options = entry.provenance.get("options")
        if options is not None:
            expected = f"K{options['n_kernels']}_k{options['kernel_size']}"
            assert f"_{expected}_lam{options['weight']:g}_beta{options['beta']:g}" in name
            assert all(
                re.fullmatch("[0-9a-f]{64}", i["sha256"]) for i in entry.provenance["images"]
            )
        assert entry.provenance["licence"] != "not stated"


def test_a_name_cut_short_is_answered_with_a_few_that_begin_so():
    with pytest.raises(UsageError) as caught:
        load_dictionary("brain_K64")
    message = str(caught.value)
    assert "Did you mean 'brain_K64_k11_lam0.1_beta0.1'?" in message
    assert "dictionary list" in message
    assert len(message) < 400


def test_folder_and_index_name_the_same_files():
    files = {path.name for path in Path(BANK.folder).glob("*.safetensors")}
    assert files == {BANK.entry(name).file for name in BANK}
    assert sum(path.stat().st_size for path in Path(BANK.folder).iterdir()) < 6_000_000


def test_readme_and_sources_count_them():
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    sources = (Path(BANK.folder) / "SOURCES.md").read_text(encoding="utf-8")
    assert f"{len(BANK)} dictionaries ship" in readme
    families = {name.split("_")[0] for name in BANK}
    assert all(f"`{family}`" in sources for family in families)
