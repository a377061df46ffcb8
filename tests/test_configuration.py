"""Errors in YAML files name the file, the line and the nearest key."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from lowfield_recon.configuration import load_configuration
from lowfield_recon.errors import UsageError


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    acceleration: float
    seed: int = 0


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    title: str
    inner: Inner | None = None
    steps: list[Inner] = []


def _load(folder: Path, text: str) -> Outer:
    path = folder / "plan.yaml"
    path.write_text(text)
    return load_configuration(path, Outer)


def test_a_right_file_becomes_the_model(tmp_path: Path):
    plan = _load(
        tmp_path, "title: A\ninner: {acceleration: 2}\nsteps:\n- acceleration: 3\n  seed: 4"
    )
    assert plan.inner == Inner(acceleration=2.0)
    assert plan.steps[0].seed == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: A\n\ntitel: B", r"plan.yaml, line 3: 'titel' .* Did you mean 'title'"),
        ("title: A\ninner:\n  accelerate: 2", r"line 3: 'inner.accelerate' .*'acceleration'"),
        ("title: A\nsteps:\n- acceleration: 2\n- speed: 3", r"line 4: 'steps.1.speed' .*'seed'"),
        ("inner:\n  acceleration: 2", "line 1: 'title' is missing"),
        ("title: A\ninner:\n  seed: 3", "line 2: 'inner.acceleration' is missing"),
        ("title: A\ninner:\n  acceleration: fast", "line 3: 'inner.acceleration': .*got 'fast'"),
        ("title: A\ntitle: B", "line 2: 'title' is given twice"),
        ("title: [", "line 1: is not valid YAML"),
        ("- a\n- b", "expected settings as"),
        ("", "expected settings as"),
        ("title: !!python/object/apply:os.getcwd []", "is not valid YAML"),
        ("title: A\n# " + "x" * (1 << 20), "larger than 1 MiB"),
    ],
)
def test_a_wrong_file_is_explained_in_one_line(tmp_path: Path, text: str, message: str):
    with pytest.raises(UsageError, match=message) as caught:
        _load(tmp_path, text)
    assert "\n" not in str(caught.value)
