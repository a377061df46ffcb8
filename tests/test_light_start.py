"""Importing the package and asking for help loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lowfield_recon.cli.app import COMMANDS

HEAVY = (
    "torch", "mrpro", "torchvision", "scipy", "numba", "sigpy", "fastmri", "matplotlib", "deepinv",
    "h5py", "ismrmrd", "nibabel", "skimage", "pytorch_lightning",
)  # fmt: skip


def _loaded(code: str) -> set[str]:
    script = f"{code}\nimport sys\nprint('\\n' + ' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split()) & set(HEAVY)


def test_importing_the_package_is_light():
    assert _loaded("import lowfield_recon; import lowfield_recon.errors") == set()


@pytest.mark.parametrize("words", [["--help"], ["--version"], *([c, "--help"] for c in COMMANDS)])
def test_help_is_light(words: list[str]):
    code = f"from lowfield_recon.cli.app import main\nassert main({words!r}) == 0"
    assert _loaded(code) == set()


def test_a_public_name_loads_what_it_needs():
    assert "torch" in _loaded("from lowfield_recon import InverseProblem")
