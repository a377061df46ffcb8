"""The wheel: what it holds, and that it works where there is no source tree."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel and unpack it into an empty folder, as pip would install it."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(folder), str(ROOT)],
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    target = folder / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def _run(installed: Path, *arguments: str) -> str:
    """Run Python in an empty folder with the unpacked wheel before everything else."""
    empty = installed.parent / "elsewhere"
    empty.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    finished = subprocess.run(
        [sys.executable, *arguments], cwd=empty, env=environment, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_the_wheel_holds_the_shipped_folders_licences_and_no_tests(installed: Path) -> None:
    shipped = installed / "lowfield_recon" / "_shipped"
    for folder in ("pipelines", "dictionaries", "data_manifests"):
        there = {path.name for path in (ROOT / folder).iterdir() if path.is_file()}
        assert there
        assert {path.name for path in (shipped / folder).iterdir()} == there
    assert (installed / "lowfield_recon" / "py.typed").is_file()
    assert not (installed / "tests").exists()
    assert list(installed.glob("*.dist-info/licenses/LICENSE"))
    size = sum(path.stat().st_size for path in installed.rglob("*") if path.is_file())
    assert size < 40e6


def test_the_installed_package_finds_what_ships_with_it(installed: Path) -> None:
    out = _run(
        installed,
        "-c",
        "import lowfield_recon as l; print(l.__file__); print(len(l.DictionaryBank()));"
        "from lowfield_recon.resources import shipped_folder, sample_path;"
        "print(shipped_folder('pipelines')); print(sample_path('brain_0055t_t2w.h5'))",
    ).splitlines()
    assert Path(out[0]).is_relative_to(installed)
    assert int(out[1]) > 0
    assert Path(out[2]).is_relative_to(installed)
    assert Path(out[3]).is_file()


def test_the_installed_command_reconstructs_a_shipped_scan(installed: Path) -> None:
    sample = installed / "lowfield_recon" / "samples" / "brain_0055t_t2w.h5"
    out = installed.parent / "image.nii.gz"
    command = ("-m", "lowfield_recon.cli.app")
    assert "reconstruct" in _run(installed, *command, "--help")
    _run(installed, *command, "reconstruct", str(sample), "-o", str(out), "--method", "cg-sense")
    assert out.is_file()
