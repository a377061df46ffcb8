"""`lowfield-recon data`."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from lowfield_recon.data import manifests

CONTENT = bytes(range(256)) * 40


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        del arguments


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Serve a folder, list its file in the data set `trial`, and give the folder."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "a.bin").write_bytes(CONTENT)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    manifest = {
        "name": "trial",
        "title": "A trial",
        "description": "A few bytes.",
        "source": {"homepage": "https://example.org/"},
        "license": "CC0-1.0",
        "citation": "Nobody (2026).",
        "access": "open",
        "checksums_from": "This test.",
        "files": [
            {
                "name": "a.bin",
                "url": f"http://127.0.0.1:{server.server_port}/a.bin",
                "size_bytes": len(CONTENT),
                "sha256": hashlib.sha256(CONTENT).hexdigest(),
            }
        ],
    }
    listed = tmp_path / "manifests"
    listed.mkdir()
    (listed / "trial.yaml").write_text(yaml.safe_dump(manifest), encoding="utf-8")
    monkeypatch.setattr(manifests, "shipped_folder", lambda _name: listed)
    monkeypatch.setenv("LOWFIELD_RECON_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield folder
    server.shutdown()
    server.server_close()
    thread.join()


def test_list_fetch_verify(run: Callable[..., Any], served: Path, tmp_path: Path) -> None:
    assert "open, 10.2 kB, here: 0 of 1 files, licence: CC0-1.0" in run("data", "list").out
    nothing = run("data", "verify", "trial")
    assert nothing.code == 1
    assert nothing.err.count("\n") == 1
    assert "none of its files is in" in nothing.err
    fetched = run("data", "fetch", "trial")
    assert fetched.code == 0, fetched.err
    assert "a.bin: fetched, 10.2 kB, checksum right" in fetched.out
    assert "please cite: Nobody (2026)." in fetched.out
    target = tmp_path / "data" / "trial" / "a.bin"
    assert target.read_bytes() == CONTENT
    (entry,) = json.loads(run("data", "list", "--json").out)
    assert (entry["n_present"], entry["n_files"], entry["size_bytes"]) == (1, 1, len(CONTENT))
    assert run("data", "verify", "trial").out == "a.bin: ok\n"
    target.write_bytes(CONTENT[::-1])
    damaged = run("data", "verify", "trial", "--json")
    assert damaged.code == 1
    assert json.loads(damaged.out)[0]["status"] == "damaged"
    assert damaged.err.count("\n") == 1
    assert "1 of 1 files damaged" in damaged.err
    assert "replaced" in run("data", "fetch", "trial").out
    assert run("data", "verify", "trial").code == 0


def test_what_changed_at_its_source_is_one_line_and_no_file(
    run: Callable[..., Any], served: Path, tmp_path: Path
) -> None:
    (served / "a.bin").write_bytes(CONTENT[::-1])
    done = run("data", "fetch", "trial", "-o", tmp_path / "chosen")
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert "changed at its source" in done.err
    assert list((tmp_path / "chosen").iterdir()) == []
    (served / "a.bin").unlink()
    assert "has no such file (404)" in run("data", "fetch", "trial").err


def test_the_shipped_samples_are_right(run: Callable[..., Any]) -> None:
    done = run("data", "verify", "samples")
    assert done.code == 0
    assert {line.split(": ")[1] for line in done.out.splitlines()} == {"ok"}
    assert run("data", "fetch", "samples", "--files", "camera.png").code == 0


def test_registration_needed_is_exit_1_and_one_line(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    done = run("data", "fetch", "fastmri_brain", "-o", tmp_path / "brain")
    assert done.code == 1
    assert done.err.startswith("error: fastmri_brain: registration needed. Fill in the form at ")
    assert done.err.count("\n") == 1
    assert not (tmp_path / "brain").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("data", "fetch", "kodac"), "Did you mean 'kodak'?"),
        (("data", "fetch", "kodak", "--files", "*.h5"), "kodak has no such file"),
        (("data", "fech"), "Did you mean 'fetch'?"),
        (("data", "fetch"), "Missing argument 'NAME'"),
    ],
)
def test_wrong_use_is_exit_2(run: Callable[..., Any], words: tuple[str, ...], said: str) -> None:
    done = run(*words)
    assert done.code == 2
    assert said in done.err


def test_the_bare_group_shows_its_commands(run: Callable[..., Any]) -> None:
    done = run("data")
    assert done.code == 0
    assert all(f"  {command} " in done.out for command in ("list", "fetch", "verify"))
    assert "LOWFIELD_RECON_DATA" in run("data", "fetch", "--help").out
