"""Maps of uncertainty beside images: the propagated noise, and both files or none."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from lowfield_recon.errors import UsageError
from lowfield_recon.pipeline.reconstruction import Job, run_job
from lowfield_recon.pipeline.uncertainty_maps import UncertaintyChoice, std_path
from lowfield_recon.pipeline.watching import InterruptionError, Watch
from lowfield_recon.problem import InverseProblem, ProgressCallback
from lowfield_recon.reconstructors import registry
from lowfield_recon.reconstructors.base import Outcome, Reconstructor, Settings
from lowfield_recon.scan import load_scan
from lowfield_recon.scan.problems import Undersampling
from lowfield_recon.scan.records import Scan

SIZE = 24
NOISE = 0.02
EVERY_SECOND = Undersampling(acceleration=2, calibration_lines=8, kind="random", seed=0)


class Counted(Reconstructor[Settings]):
    """The adjoint, which notes its calls and can be interrupted."""

    name = "counted"
    summary = "a stand-in"
    calls: ClassVar[int] = 0
    interrupted_call: ClassVar[int | None] = None
    returns_best: ClassVar[bool] = False

    def solve(self, problem: InverseProblem, progress: ProgressCallback | None) -> Outcome:
        number, Counted.calls = Counted.calls, Counted.calls + 1
        reason = "done"
        if progress is not None:
            progress(1, 2, None)
        if number == Counted.interrupted_call:
            if not Counted.returns_best:
                raise KeyboardInterrupt
            reason = "interrupted"
        (image,) = problem.operator.adjoint(problem.data)
        return Outcome(image, {"stopping_reason": reason}, {})


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> type[Counted]:
    module = ModuleType("counted_stand_in")
    module.Counted = Counted
    monkeypatch.setitem(sys.modules, "counted_stand_in", module)
    monkeypatch.setitem(registry._BUILT_IN, "counted", "counted_stand_in:Counted")
    for name, value in (("calls", 0), ("interrupted_call", None), ("returns_best", False)):
        monkeypatch.setattr(Counted, name, value)
    return Counted


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Scan:
    """Return two slices of a bright object seen by three coils."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    coils = np.stack([1 + 0.4 * x, 1 + 0.4j * y, 1 - 0.3 * x + 0.3j * y])
    images = np.stack([3 + np.cos(3 * x * y), 3 + np.sin(2 * x)])[:, None] * coils
    axes = (-2, -1)
    kspace = np.fft.fftshift(
        np.fft.fft2(np.fft.ifftshift(images, axes=axes), norm="ortho"), axes=axes
    )
    noise = generator.normal(0, NOISE / math.sqrt(2), (2, *kspace.shape))
    path = tmp_path_factory.mktemp("scan") / "kspace.npy"
    np.save(path, (kspace + noise[0] + 1j * noise[1]).astype(np.complex64))
    return load_scan(path, axes="slice coil y x")


def _job(scan: Scan, *, draws: int = 3, method: str = "counted", **more: object) -> Job:
    return Job(scan=scan, method=method, uncertainty=UncertaintyChoice(draws=draws), **more)


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_of_a_linear_method_the_map_is_the_propagated_noise(scan, tmp_path):
    out, weight, draws = tmp_path / "a.npy", 0.05, 60
    settings = {"regularization_weight": weight, "tolerance": 1e-7}
    job = _job(scan, draws=draws, method="cg-sense", settings=settings, coil_maps="walsh",
               undersampling=EVERY_SECOND, slices="1")  # fmt: skip
    lines = list(run_job(job, out))
    problem = scan.problems(coil_maps="walsh", undersampling=EVERY_SECOND)[1]
    n = SIZE * SIZE
    units = torch.eye(n, dtype=torch.complex64).reshape(-1, 1, 1, 1, SIZE, SIZE)
    matrix = torch.stack([problem.operator(unit)[0].reshape(-1) for unit in units], dim=1)
    matrix = matrix.to(torch.complex128)
    normal = matrix.mH @ matrix + weight * torch.eye(n, dtype=torch.complex128)
    rows = torch.linalg.solve(normal, matrix.mH).abs().square().sum(1).sqrt()
    # Of the complex noise, half the variance lies along the phase of a bright pixel.
    expected = problem.noise_std * rows.reshape(SIZE, SIZE).numpy() / math.sqrt(2)
    ratio = np.load(tmp_path / "a_std.npy")[0, 0] / expected
    assert expected.max() > 1.2 * expected.min()
    assert np.sqrt(np.mean(ratio**2)) == pytest.approx(1, abs=0.03)
    assert ratio.std() < 1.3 / math.sqrt(2 * (draws - 1))
    assert lines[-1] == (
        "uncertainty: standard deviation of each pixel over 60 draws of the noise, whose level is "
        "estimated from the border of k-space; it shows variance, not bias"
    )


def test_an_image_costs_its_draws_and_no_more_and_the_bar_moves(scan, tmp_path, counted):
    moves: list[list[float]] = [[], []]

    @contextmanager
    def bars(_label: str, n: int) -> Iterator[Callable[[int], ProgressCallback]]:
        assert n == 2
        yield lambda index: lambda done, total, _value: moves[index].append(done / total)

    list(run_job(_job(scan), tmp_path / "a.nii.gz", bars))
    assert counted.calls == 2 * (1 + 3)
    assert moves == [[0.125, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0]] * 2
    assert _names(tmp_path) == {
        "a.nii.gz", "a.nii.gz.json", "a_std.nii.gz", "a_std.nii.gz.json",
    }  # fmt: skip


@pytest.mark.parametrize(("call", "returns_best", "error"), [
    (6, False, KeyboardInterrupt),
    (6, True, InterruptionError),
    (4, True, InterruptionError),
])  # fmt: skip
def test_an_interrupt_leaves_neither_file(
    scan, tmp_path, counted, monkeypatch, call, returns_best, error
):
    monkeypatch.setattr(counted, "interrupted_call", call)
    monkeypatch.setattr(counted, "returns_best", returns_best)
    (tmp_path / "a_std.npy").write_bytes(b"old")
    job = _job(scan, watch=Watch(keep_interrupted=True))
    with pytest.raises(error):
        list(run_job(job, tmp_path / "a.npy"))
    assert counted.calls == call + 1
    assert _names(tmp_path) == {"a_std.npy"}
    assert (tmp_path / "a_std.npy").read_bytes() == b"old"


def test_slices_have_noise_of_their_own_whichever_are_chosen(scan, tmp_path):
    for name, slices in (("all", None), ("one", "1")):
        job = _job(scan, method="adjoint", slices=slices, coil_maps="walsh")
        list(run_job(job, tmp_path / f"{name}.npy"))
    both = np.load(tmp_path / "all_std.npy")[0]
    assert np.array_equal(both[1], np.load(tmp_path / "one_std.npy")[0, 0])
    # The same noise in both would leave the same pattern of sampling errors.
    assert abs(np.corrcoef(both[0].ravel(), both[1].ravel())[0, 1]) < 0.3
    record = json.loads((tmp_path / "all_std.npy.json").read_text())
    assert [image["seed"] for image in record["images"]] == [0, 1]


def test_the_json_says_what_the_map_is(scan, tmp_path):
    list(run_job(_job(scan, method="adjoint", part="both"), tmp_path / "a.png"))
    record = json.loads((tmp_path / "a_std.png.json").read_text())
    said = record["uncertainty"]
    assert (record["image"], record["method"]) == ("a_std.png", "adjoint")
    assert (said["draws"], said["seed"]) == (3, 0)
    assert said["noise_source"] == "estimated from the border of k-space"
    assert said["relative_sampling_error"] == pytest.approx(0.5)
    assert said["shows"].startswith("variance")
    assert said["does_not_show"].startswith("bias")
    assert record["options"]["uncertainty"] == {"draws": 3, "seed": 0}
    problems = scan.problems()
    levels = [problems[index].noise_std for index in range(2)]
    assert [image["noise_std"] for image in record["images"]] == pytest.approx(levels)
    with Image.open(tmp_path / "a_std.png") as picture:
        assert picture.mode == "L"


def test_one_draw_and_names_without_room_are_refused(tmp_path):
    with pytest.raises(UsageError, match="at least 2 draws"):
        UncertaintyChoice(draws=1)
    with pytest.raises(UsageError, match="folder of DICOM"):
        std_path(tmp_path / "a.dicom")
    (tmp_path / "a_std.png").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        std_path(tmp_path / "a.png")
