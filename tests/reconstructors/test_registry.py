"""Methods by name, plug-ins of other packages, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lowfield_recon import InverseProblem, methods, reconstruct
from lowfield_recon.errors import UsageError
from lowfield_recon.operators import identity_operator
from lowfield_recon.reconstructors import create

PLUG_IN = '''
from lowfield_recon.reconstructors.base import Outcome, Reconstructor, Settings


class HalfSettings(Settings):
    factor: float = 0.5


class Half(Reconstructor):
    """Multiply the adjoint by a factor."""

    name = "half"
    summary = "half of the adjoint"
    settings_type = HalfSettings

    def solve(self, problem, progress):
        (image,) = problem.operator.adjoint(problem.data)
        return Outcome(self.settings.factor * image, {"stopping_reason": "closed form"}, {})
'''
USE = """
import torch
from lowfield_recon import InverseProblem, methods, reconstruct
from lowfield_recon.operators import identity_operator

y = torch.full((1, 1, 1, 2, 2), 4.0)
problem = InverseProblem(data=y, operator=identity_operator(), image_domain="real")
print([(m.name, m.source) for m in methods() if m.source not in ("lowfield_recon",)])
print(float(reconstruct(problem, "half").image[0, 0, 0, 0, 0]))
print(float(reconstruct(problem, "half", factor=0.25).image[0, 0, 0, 0, 0]))
try:
    reconstruct(problem, "broken")
except ValueError as error:
    print(error)
"""


def _problem() -> InverseProblem:
    return InverseProblem(
        data=torch.ones(1, 1, 1, 4, 4), operator=identity_operator(), image_domain="real"
    )


def test_a_package_plugs_in_through_its_entry_point(tmp_path: Path) -> None:
    (tmp_path / "half_plug_in.py").write_text(PLUG_IN)
    metadata = tmp_path / "half_plug_in-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: half-plug-in\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[lowfield_recon.reconstructors]\nhalf = half_plug_in:Half\nbroken = half_plug_in:Missing\n"
    )
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{USE}"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert "('half', 'half-plug-in')" in out[0]
    assert "('broken', 'broken plug-in')" in out[0]
    assert out[1:3] == ["2.0", "1.0"]
    assert "half-plug-in cannot be loaded" in out[3]


@pytest.mark.parametrize(
    ("method", "settings", "words"),
    [
        ("tvv", {}, "method 'tvv' is not known. Did you mean 'tv'"),
        ("tv", {"iteration": 3}, "setting 'iteration' is not known. Did you mean 'iterations'"),
        ("tv", {"iterations": 0}, "iterations = 0"),
        ("tv", {"iterations": "many"}, "iterations = 'many'"),
        ("tv", {"regularization_weight": -1.0}, "regularization_weight"),
        ("tv", {"regularization_weight": float("nan")}, "regularization_weight"),
        ("tv", {"device": "quantum"}, "device"),
        ("wavelet", {"wavelet": "db77"}, "wavelet"),
    ],
)
def test_what_does_not_exist_is_refused_with_the_nearest_name(
    method: str, settings: dict[str, object], words: str
) -> None:
    with pytest.raises(UsageError, match=words.replace(".", r"\.")) as raised:
        reconstruct(_problem(), method, **settings)
    assert "\n" not in str(raised.value)


def test_settings_are_resolved_and_reported() -> None:
    result = reconstruct(_problem(), "tv", iterations=7)
    assert result.method == "tv"
    assert result.settings["iterations"] == 7
    assert result.settings["regularization_weight"] is not None
    assert result.settings["device"] == "cpu"
    assert isinstance(result.seconds, float)
    assert result.diagnostics["noise_source"] == "estimated from the finest details of the image"


def test_every_method_says_what_it_does_and_explains_its_settings() -> None:
    for info in methods():
        assert info.summary
        assert all(": " in text for text in info.settings.values())
    assert create("tv", {"iterations": "20"}).settings.model_dump()["iterations"] == 20
