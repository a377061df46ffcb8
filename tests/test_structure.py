"""The structure that the design draws: rooms, downward imports, small modules, sources."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "lowfield_recon"
MODULES = sorted(PACKAGE.rglob("*.py"))

TOP_LEVEL = {
    "LICENSE",
    "README.md",
    "data_manifests",
    "dictionaries",
    "lowfield_recon",
    "pipelines",
    "pyproject.toml",
    "tests",
}

# A room may import the rooms before it, and itself.
LAYERS = (
    "errors",
    "mrpro_import",
    "files",
    "resources",
    "configuration",
    "operators",
    "problem",
    "progress",
    "manifest",
    "solvers",
    "dictionaries",
    "prepare",
    "samples",
    "scan",
    "simulation",
    "learning",
    "reconstructors",
    "data",
    "evaluation",
    "pipeline",
    "cli",
)
# Reconstructors never ask where data came from, and scans never ask what is done with it.
FORBIDDEN = {
    ("reconstructors", "scan"),
    ("reconstructors", "prepare"),
    ("scan", "reconstructors"),
    ("scan", "solvers"),
    ("prepare", "reconstructors"),
    ("operators", "files"),
    ("solvers", "files"),
}
SOURCED = ("solvers", "reconstructors", "prepare", "simulation", "dictionaries", "learning")


def _room(name: str) -> str:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


def _imports(path: Path) -> set[str]:
    """Rooms that a module imports anywhere, except for type checking alone."""
    rooms: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [node.module] if node.module != "lowfield_recon" else [
                f"lowfield_recon.{alias.name}" for alias in node.names
            ]  # fmt: skip
        rooms |= {_room(name) for name in names if name.startswith("lowfield_recon")}
    return rooms


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_downwards(path: Path) -> None:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    room = parts[0]
    if room == "__init__":
        return
    assert room in LAYERS, f"{room} is not a room of the design; give it a place in LAYERS"
    for imported in _imports(path):
        if imported in ("__version__", "") or imported not in LAYERS:
            assert imported in ("__version__", ""), f"{path.name} imports unknown room {imported}"
            continue
        allowed = LAYERS.index(imported) <= LAYERS.index(room)
        # The problem record asks the operators for shapes, and the operators know no problem.
        assert allowed, f"{room} imports {imported}, which lies above it"
        assert (room, imported) not in FORBIDDEN, f"{room} must not import {imported}"


def test_the_top_level_is_the_agreed_list() -> None:
    tracked = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    ignored = {"build", "dist", "demo", "benchmark"} | {
        f"lowfield-recon-{name}" for name in ("demo", "benchmark", "run")
    }
    assert tracked - ignored == TOP_LEVEL


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_and_functions_are_small(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 400
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            length = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
            assert length <= 60, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_function_swallows_unknown_keywords(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.args.kwarg is not None:
            # `reconstruct` checks every keyword against the method's settings.
            assert (path.name, node.name) == ("registry.py", "reconstruct")


@pytest.mark.parametrize("room", SOURCED)
def test_methods_name_their_source(room: str) -> None:
    source = re.compile(r"doi\.org/10\.|arXiv")
    texts = {p.name: p.read_text(encoding="utf-8") for p in (PACKAGE / room).glob("*.py")}
    sourced = [name for name, text in texts.items() if source.search(text)]
    algorithms = {
        "solvers": {
            "admm.py", "cg.py", "fista.py", "pdhg.py", "sparse_coding_admm.py",
            "sparse_coding_descent.py", "sparse_coding_fista.py",
        },
        "reconstructors": {
            "adjoint.py", "cdl.py", "cdl_lambda.py", "cg_sense.py", "tv.py", "wavelet.py",
            "weights.py",
        },
        "prepare": {
            "averaging.py", "coil_compression.py", "coil_maps.py", "interference.py",
            "partial_fourier.py", "whitening.py",
        },
        "simulation": {"coils.py", "off_resonance.py", "simulate.py"},
        "dictionaries": {"learning.py", "statistics.py"},
        "learning": {
            "cdl_lambda.py", "implicit.py", "losses.py", "schedule.py", "trainer.py",
            "unrolling.py",
        },
    }[room]  # fmt: skip
    assert algorithms <= set(sourced)


def test_nothing_is_unpickled() -> None:
    unsafe = re.compile(r"torch\.load\(|pickle\.load|allow_pickle=True|yaml\.load\(")
    for path in MODULES:
        for line in path.read_text(encoding="utf-8").splitlines():
            assert not unsafe.search(line) or "weights_only=True" in line, f"{path.name}: {line}"
