"""Pipelines of light steps, whose calls are counted, and a way to run them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from lowfield_recon.errors import DataError
from lowfield_recon.pipeline.compiling import compile_pipeline
from lowfield_recon.pipeline.running import UnitReport, run_pipeline
from lowfield_recon.pipeline.schedulers import open_scheduler
from lowfield_recon.pipeline.step import FileInput, StepResult, StepSettings, StepType


class RepeatSettings(StepSettings):
    text: Annotated[Path, FileInput(("text",))]
    times: Annotated[int, Field(ge=1)] = 2


class JoinSettings(StepSettings):
    parts: Annotated[tuple[Path, ...], FileInput(("text", "count"))]
    separator: str = "+"


class CountSettings(StepSettings):
    text: Annotated[Path, FileInput(("text",))]


@dataclass
class Bench:
    """Step types whose calls are noted, and a runner."""

    folder: Path
    calls: list[str] = field(default_factory=list)

    def repeat(self, settings: RepeatSettings, out: Path, _progress: object) -> StepResult:
        text = settings.text.read_text()
        self.calls.append(f"repeat {text} {settings.times}")
        if text == "bad":
            raise DataError("the text is bad")
        out.write_text(text * settings.times)
        return StepResult(outputs={"text": out}, notes=("repeated",))

    def count(self, settings: CountSettings, out: Path, _progress: object) -> StepResult:
        self.calls.append(f"count {settings.text.read_text()}")
        out.write_text(str(len(settings.text.read_text())))
        return StepResult(outputs={"count": out})

    def join(self, settings: JoinSettings, out: Path, _progress: object) -> StepResult:
        self.calls.append("join")
        out.write_text(settings.separator.join(path.read_text() for path in settings.parts))
        return StepResult(outputs={"text": out})

    def types(self) -> dict[str, StepType]:
        rows = (
            ("repeat", RepeatSettings, "text", self.repeat),
            ("count", CountSettings, "count", self.count),
            ("join", JoinSettings, "text", self.join),
        )
        return {
            name: StepType(
                name=name,
                version=1,
                summary=name,
                settings=settings,
                outputs={kind: kind},
                default_name=f"{name}.txt",
                function=function,
            )
            for name, settings, kind, function in rows
        }

    def write(self, yaml: str, **texts: str) -> Path:
        """Write a pipeline and text files beside it."""
        for name, text in texts.items():
            (self.folder / f"{name}.txt").write_text(text)
        path = self.folder / "chain.yaml"
        path.write_text(yaml)
        return path

    def run(
        self, path: Path, out: Path, *, types: dict[str, StepType] | None = None, **given: str
    ) -> dict[str, UnitReport]:
        """Run a pipeline and return its reports by label; `calls` starts anew."""
        self.calls.clear()
        pipeline = compile_pipeline(path, given, step_types=types or self.types())
        with open_scheduler("sync") as scheduler:
            reports = run_pipeline(
                pipeline,
                out,
                out / ".cache",
                scheduler=scheduler,
                progress_of=lambda _index: None,
                tell=lambda _report: None,
            )
        return {report.label: report for report in reports}


CHAIN = """\
name: chain
description: repeats texts and joins them
parameters:
  text: {type: files, pattern: ["*.txt"], default: "."}
  times: {type: numbers, default: [2]}
  separator: {type: text, default: "+"}
steps:
  - name: long
    uses: repeat
    for_each: [text, times]
    with: {text: "${text}", times: "${times}"}
    save_as: ${text.stem}/${times}.txt
  - name: length
    uses: count
    for_each: [text, times]
    with: {text: "${long.text}"}
  - name: together
    uses: join
    with: {parts: "${length.count}", separator: "${separator}"}
    save_as: together.txt
"""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "in") if (tmp_path / "in").mkdir() is None else Bench(tmp_path)


@pytest.fixture
def chain() -> str:
    return CHAIN


@pytest.fixture
def tree() -> Callable[[Path], dict[str, bytes]]:
    """Return a function that gives all files below a folder but for the log and known hashes."""

    def read(folder: Path) -> dict[str, bytes]:
        timed = ("run.json", "hashes.json")
        return {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name not in timed
        }

    return read
