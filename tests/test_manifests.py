"""Every manifest that ships is valid, says under which licence, and names no local place."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
import yaml

from lowfield_recon.data import load_manifest, manifest_names
from lowfield_recon.resources import shipped_folder

NAMES = manifest_names()
REQUIRED = {
    "fastmri_knee", "fastmri_brain", "m4raw", "osi2_50mt", "ulf_0055t", "bsds500", "set5", "set12",
    "set14", "kodak", "samples",
}  # fmt: skip
IN_VIVO = {"fastmri_knee", "fastmri_brain", "m4raw", "osi2_50mt", "ulf_0055t", "samples"}


def text_of(name: str) -> str:
    return (shipped_folder("data_manifests") / f"{name}.yaml").read_text(encoding="utf-8")


def test_every_data_set_has_its_manifest() -> None:
    assert set(NAMES) >= REQUIRED


@pytest.mark.parametrize("name", NAMES)
def test_it_is_valid_and_says_who_made_it_and_how_it_is_split(name: str) -> None:
    manifest = load_manifest(name)
    assert len(manifest.citation) > 20
    assert manifest.source.homepage is not None
    assert manifest.split is not None
    assert (manifest.split.unit == "subject") == (name in IN_VIVO)
    assert all(file.reader or manifest.reader for file in manifest.files)


@pytest.mark.parametrize("name", NAMES)
def test_a_licence_is_stated_or_said_to_be_unknown(name: str) -> None:
    manifest = load_manifest(name)
    if manifest.license is None:
        assert any(re.search(r"rights|licence", note) for note in manifest.notes)
    elif re.fullmatch(r"[\w.-]+", manifest.license):
        assert manifest.license in {"CC0-1.0", "CC-BY-4.0", "MIT", "BSD-3-Clause"}
        assert manifest.license_url is not None
    if manifest.access == "shipped":
        assert all(file.license and file.sha256 and file.size_bytes for file in manifest.files)


@pytest.mark.parametrize("name", NAMES)
def test_links_are_well_formed_and_https(name: str) -> None:
    text = text_of(name)
    assert "http://" not in text
    for link in re.findall(r"https://[^\s\"']+", text):
        assert re.fullmatch(
            r"https://[a-z0-9.-]+\.[a-z]{2,}(/[\w./%?=&~-]*)?", link.rstrip(".,")
        ), link
    for doi in re.findall(r"doi\.org/(\S+)", text):
        assert re.fullmatch(r"10\.\d{4,9}/[\w.()/-]+", doi.rstrip(".,"))


@pytest.mark.parametrize("name", NAMES)
def test_no_place_on_a_computer_and_no_personal_link(name: str) -> None:
    text = text_of(name)
    assert not re.search(r"(?<![\w.])/(home|work|opt|tmp|root|mnt|Users|data)/", text)
    assert not re.search(r"Signature=|AWSAccessKeyId|token=|\w+@\w+\.\w+", text)
    assert len(text.encode()) < 100_000


def test_checksums_are_of_different_files() -> None:
    for name in NAMES:
        sums = [file.sha256 for file in load_manifest(name).files if file.sha256]
        assert len(sums) == len(set(sums))


def test_a_published_file_has_one_checksum_in_all_manifests() -> None:
    published = {file.name: file.sha256 for file in load_manifest("ulf_0055t").files}
    for sample in load_manifest("samples").files:
        if sample.source is not None and "bispmri" in sample.source.repository:
            local = sample.source.file.partition("/")[2].replace(" ", "_")
            assert published[local] == sample.source.sha256


def test_the_schema_is_the_only_one() -> None:
    for name in NAMES:
        assert yaml.safe_load(text_of(name))["name"] == name
    assert not list(shipped_folder("data_manifests").glob("*.yml"))


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "folder"), [("ulf_0055t", "ulf_0055T"), ("set12", "natural/Set12")]
)
def test_checksums_are_those_of_the_published_files(
    shared_data: Path, name: str, folder: str
) -> None:
    """Compare through hashlib alone; what is not at hand has no checksum."""
    known = 0
    for file in load_manifest(name).files:
        path = shared_data / folder / file.name
        assert path.is_file() == (file.sha256 is not None)
        if file.sha256 is not None:
            content = path.read_bytes()
            assert hashlib.sha256(content).hexdigest() == file.sha256
            assert len(content) == file.size_bytes
            known += 1
    assert known >= 12
