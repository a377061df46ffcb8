"""What a manifest may say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from lowfield_recon.data import DataManifest, data_root, dataset_folder, load_manifest, manifests
from lowfield_recon.data.manifests import check_relative_name
from lowfield_recon.errors import UsageError

MINIMAL: dict[str, Any] = {
    "name": "trial",
    "title": "A trial",
    "description": "Random bytes.",
    "source": {"doi": "10.1000/trial"},
    "license": "CC0-1.0",
    "citation": "Nobody (2026).",
    "access": "open",
    "checksums_from": "This test.",
    "files": [{"name": "a.h5", "url": "https://example.org/a", "sha256": "0" * 64}],
}


def test_the_minimal_manifest_is_valid() -> None:
    assert DataManifest.model_validate(MINIMAL).files[0].name == "a.h5"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"licence": "CC0-1.0"}, "Extra inputs are not permitted"),
        ({"license": None}, "say in 'notes' why"),
        ({"files": [{"name": "a.h5", "url": "https://example.org/a"}]}, "say in 'notes' why"),
        ({"checksums_from": None}, "say in 'checksums_from'"),
        ({"access": "registration"}, "the words what to do"),
        ({"access": "shipped"}, "needs 'folder'"),
        ({"files": [{"name": "a.h5", "sha256": "0" * 64}]}, "at least one file with a 'url'"),
        ({"files": []}, "at least 1 item"),
        ({"files": MINIMAL["files"] * 2}, "'a.h5' is listed twice"),
        ({"source": {"doi": "https://doi.org/10.1000/trial"}}, "should match pattern"),
        ({"split": {"unit": "subject", "rule": "r", "subject_pattern": "("}}, "no regular"),
        ({"split": {"unit": "subject", "rule": "r", "subject_pattern": "a"}}, "needs a group"),
        *(
            ({"files": [{**MINIMAL["files"][0], **wrong}]}, words)
            for wrong, words in (
                ({"name": "../a"}, "leads out"),
                ({"url": "file:///a"}, "no plain http"),
                ({"sha256": "0" * 63}, "should match pattern"),
                ({"md5": "G" * 32}, "should match pattern"),
                ({"size_bytes": -1}, "greater than or equal to 0"),
                ({"archive": {"kind": "rar"}}, "'zip' or 'tar'"),
            )
        ),
    ],
)
def test_what_is_wrong_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        DataManifest.model_validate({**MINIMAL, **change})


@pytest.mark.parametrize("name", ["", ".", "/a", "a/../../b", "..", "a\\b", "C:a", "a\nb", "a\0"])
def test_names_that_leave_their_folder(name: str) -> None:
    with pytest.raises(ValueError, match="leads out of its folder"):
        check_relative_name(name)


def test_a_faulty_file_is_refused_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifests, "shipped_folder", lambda _name: tmp_path)
    text = yaml.safe_dump({**MINIMAL, "licence": "MIT"}, sort_keys=False)
    (tmp_path / "trial.yaml").write_text(text, encoding="utf-8")
    line = text.splitlines().index("licence: MIT") + 1
    with pytest.raises(UsageError, match=rf"trial\.yaml, line {line}: 'licence' is no setting"):
        load_manifest("trial")
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(MINIMAL), encoding="utf-8")
    with pytest.raises(UsageError, match=r"other\.yaml: its name is 'trial'"):
        load_manifest("other")
    with pytest.raises(UsageError, match=r"'tryal': .* Did you mean 'trial'\?"):
        load_manifest("tryal")


def test_the_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = DataManifest.model_validate(MINIMAL)
    monkeypatch.setenv("LOWFIELD_RECON_DATA", str(tmp_path / "sets"))
    assert dataset_folder(manifest) == tmp_path / "sets" / "trial"
    assert dataset_folder(manifest, tmp_path) == tmp_path
    monkeypatch.setenv("LOWFIELD_RECON_DATA", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert data_root().is_relative_to(tmp_path / "cache")
    assert "lowfield_recon" in data_root().parts
