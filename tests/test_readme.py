"""What the README shows must run as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from lowfield_recon.cli.app import main
from lowfield_recon.configuration import load_configuration
from lowfield_recon.evaluation.demo_plan import DemoPlan
from lowfield_recon.evaluation.study.plan import StudyPlan
from lowfield_recon.pipeline.compiling import compile_pipeline
from lowfield_recon.pipeline.running import check_methods
from lowfield_recon.reconstructors import methods

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("snippet", _blocks("python"))
def test_the_python_snippets_run(snippet: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(snippet, "README.md", "exec"), {})  # noqa: S102 - our own README
    assert "torch.Size" in capsys.readouterr().out


def test_the_first_block_holds_the_two_commands() -> None:
    commands = _blocks("bash")[0].splitlines()
    assert commands == [
        "pip install . && lowfield-recon demo",
        "pip install '.[test]' && pytest -n 2",
    ]


def test_the_commands_it_shows_exist_with_their_options(capfd: pytest.CaptureFixture[str]) -> None:
    lines = [line for block in _blocks("console") for line in block.splitlines()]
    commands = [line for line in lines if line.startswith("$ lowfield-recon")]
    assert commands
    for command in commands:
        words = shlex.split(command, comments=True)[1:]
        name = words[1:3] if words[1] in ("data", "dictionary", "weights") else words[1:2]
        assert main([*name, "--help"]) == 0
        text = capfd.readouterr().out
        for option in (word for word in words if word.startswith("-")):
            assert re.search(rf"(^|[\s,]){re.escape(option)}\b", text), (
                f"{words[1]} has no {option}"
            )


def test_the_table_of_methods_is_complete() -> None:
    table = set(re.findall(r"^\| `([a-z-]+)` \|", README, flags=re.MULTILINE))
    assert table == {info.name for info in methods() if info.source == "lowfield_recon"}


def test_the_figures_are_there() -> None:
    figures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README)
    assert len(figures) == 2
    assert all((ROOT / figure).stat().st_size > 10_000 for figure in figures)


NEEDED = {
    "reconstruct_scan": {"scan": "sample:brain_0055t_t2w.h5"},
    "reconstruct_folder": {"scan": "sample:brain_0055t_t2w.h5"},
    "build_bank": {"images": "sample:camera.png"},
    "ood_study": {"images": "sample:camera.png", "data": "sample:camera.png"},
}
"""Values of the parameters that have no default."""


@pytest.mark.parametrize("path", sorted((ROOT / "pipelines").glob("*.yaml")), ids=lambda p: p.name)
def test_the_pipelines_are_valid(path: Path) -> None:
    if path.name == "demo.yaml":
        assert load_configuration(path, DemoPlan)
        return
    if path.name.startswith("study_"):
        assert load_configuration(path, StudyPlan)
        return
    pipeline = compile_pipeline(path, NEEDED.get(path.stem, {}))
    check_methods(pipeline)
    assert path.stem.replace("_", "-") == pipeline.plan.name
