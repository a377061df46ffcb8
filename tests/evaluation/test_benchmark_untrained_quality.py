"""`benchmark untrained-quality`: problems, rows, statistics; an interrupted run goes on."""

from __future__ import annotations

import dataclasses
import itertools
import json
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import active_children

import numpy as np
import pytest
import torch
from PIL import Image

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.evaluation.benchmark import BenchmarkOptions, find_benchmark
from lowfield_recon.evaluation.benchmark.untrained import quality_rows, side_by_side
from lowfield_recon.evaluation.benchmark.untrained.code_identity import code_identity
from lowfield_recon.evaluation.benchmark.untrained.measure import Measure
from lowfield_recon.evaluation.benchmark.untrained.quality_images import photographs, text_mask
from lowfield_recon.evaluation.benchmark.untrained.quality_problems import (
    QualityCase,
    degraded_photograph,
    low_field_cases,
    multi_coil_cases,
    photograph_cases,
)
from lowfield_recon.evaluation.benchmark.untrained.quality_rows import (
    QualityJob,
    QualityRow,
    method_code,
)
from lowfield_recon.evaluation.benchmark.untrained.quality_table import (
    quality_tables,
    summarise,
    verdict,
)
from lowfield_recon.evaluation.benchmark.untrained.side_by_side import run_jobs
from lowfield_recon.evaluation.benchmark.untrained.transfer import (
    TransferJob,
    transfer_jobs,
    transfer_summary,
    transfer_table,
)
from lowfield_recon.operators.fourier import centred_fft
from lowfield_recon.problem import Reconstruction
from lowfield_recon.reconstructors import registry

METHODS = {
    "dip": "lowfield_recon.reconstructors.dip:DeepImagePrior",
    "ngr": "lowfield_recon.reconstructors.ngr:NeuralGradient",
    "mg-spair": "lowfield_recon.reconstructors.mg_spair:MgSpair",
}


@pytest.fixture(autouse=True)
def _methods(monkeypatch):
    for name, place in METHODS.items():
        monkeypatch.setitem(registry._BUILT_IN, name, place)


def _colour(ny: int = 24, nx: int = 20) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return 0.1 + 0.8 * torch.rand(1, 3, 1, ny, nx, generator=generator)


def _write(path, ny: int, nx: int, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    Image.fromarray(rng.integers(1, 255, size=(ny, nx, 3), dtype=np.uint8)).save(path)


def test_photographs_are_cut_to_even_middles(tmp_path):
    _write(tmp_path / "b.png", 41, 30)
    _write(tmp_path / "a.png", 30, 64, seed=1)
    found = photographs((str(tmp_path),), crop=32)
    assert [(image.name, tuple(image.pixels.shape)) for image in found] == [
        ("a", (1, 3, 1, 30, 32)), ("b", (1, 3, 1, 32, 30)),
    ]  # fmt: skip
    pixels = np.asarray(Image.open(tmp_path / "b.png"))[4:36]
    assert np.allclose(found[1].pixels[0, :, 0].numpy() * 255, pixels.transpose(2, 0, 1), atol=1e-4)
    assert found[0].identity != found[1].identity
    assert len(photographs((str(tmp_path), str(tmp_path / "*.png")), crop=32)) == 2


def test_photographs_that_cannot_be_used_are_refused(tmp_path):
    Image.fromarray(np.full((40, 40), 9, dtype=np.uint8)).save(tmp_path / "flat.png")
    with pytest.raises(DataError, match="constant"):
        photographs((str(tmp_path / "flat.png"),), crop=32)
    _write(tmp_path / "thin.png", 8, 40)
    with pytest.raises(DataError, match="at least 16"):
        photographs((str(tmp_path / "thin.png"),), crop=32)
    with pytest.raises(DataError, match="no PNG"):
        photographs((str(tmp_path / "*.tiff"),), crop=32)
    (tmp_path / "x").mkdir()
    _write(tmp_path / "x" / "one.png", 32, 32)
    _write(tmp_path / "one.png", 32, 32, seed=1)
    with pytest.raises(DataError, match="two images are called 'one'"):
        photographs((str(tmp_path / "one.png"), str(tmp_path / "x")), crop=32)


def test_text_lies_everywhere_and_moves_with_the_seed():
    mask = text_mask((128, 96), 0)
    assert mask.shape == (128, 96)
    for part in mask.reshape(4, 32, 2, 48).permute(0, 2, 1, 3).reshape(8, -1):
        assert 0.5 < float(part.float().mean()) < 0.97
    assert torch.equal(mask, text_mask((128, 96), 0))
    assert not torch.equal(mask, text_mask((128, 96), 1))


@pytest.mark.parametrize(("task", "kept"), [("inpaint-10", 0.1), ("inpaint-50", 0.5)])
def test_inpainting_keeps_that_part_of_all_values_exactly(task, kept):
    truth = _colour()
    problem = degraded_photograph(truth, task, 0)
    mask = problem.operator.mask
    assert int(mask.sum()) == round(kept * truth.numel())
    assert torch.equal(problem.data, torch.where(mask, truth, 0))
    assert not torch.equal(mask[:, 0], mask[:, 1])
    assert problem.noise_std == 0
    again = degraded_photograph(truth, task, 0)
    assert torch.equal(again.data, problem.data)
    assert not torch.equal(degraded_photograph(truth, task, 1).data, problem.data)


def test_mixed_degradations_are_blur_then_every_second_pixel_then_noise_and_loss():
    truth = _colour(32, 28)
    problem = degraded_photograph(truth, "mixed", 0)
    assert problem.data.shape == (1, 3, 1, 16, 14)
    assert float((problem.data != 0).float().mean()) == pytest.approx(0.7, abs=1e-3)
    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    taps /= taps.sum()
    blurred = truth[0, :, 0].double().numpy()
    for axis in (1, 2):
        blurred = sum(
            tap * np.roll(blurred, shift, axis)
            for tap, shift in zip(taps, range(-5, 6), strict=True)
        )
    small = blurred[:, ::2, ::2]
    kept = problem.data[0, :, 0].numpy() != 0
    residual = (problem.data[0, :, 0].numpy() - small)[kept]
    assert residual.std() == pytest.approx(0.03, rel=0.1)
    assert abs(residual.mean()) < 0.005
    (again,) = problem.operator(truth)
    assert np.allclose(again[0, :, 0].numpy()[kept], small[kept], atol=1e-5)


def test_low_field_data_and_reference_have_noise_of_their_own():
    (case,) = low_field_cases([0], samples=["brain_0055t_t2w.h5"])
    problem = case.build()
    (other,) = low_field_cases([1], samples=["brain_0055t_t2w.h5"])
    assert case.identity != other.identity
    kept = problem.data[0, 0, 0, :, 0] != 0
    assert int(kept.sum()) == problem.data.shape[-2] // 2
    centre = problem.data.shape[-2] // 2
    assert bool(kept[centre - 12 : centre + 12].all())
    from lowfield_recon.resources import sample_path
    from lowfield_recon.scan import load_scan

    problems = load_scan(sample_path("brain_0055t_t2w.h5")).problems()
    full = problems[len(problems) // 2]
    ratio = (1.5**2 - 1) ** 0.5
    added = (problem.data - full.data)[..., kept, :] / ratio
    taken = (full.data - centred_fft(problem.reference, (-2, -1)))[..., kept, :] * ratio
    assert torch.allclose(added, taken, atol=1e-4)
    assert float(added.abs().square().mean().sqrt()) == pytest.approx(full.noise_std, rel=0.03)
    assert problem.noise_std == pytest.approx(1.5 * full.noise_std)
    assert case.view == "real part"


def test_consecutive_slices_are_one_case_each():
    cases = low_field_cases([2], samples=["brain_0055t_t2w.h5"], all_slices=True, crop=32)
    assert len(cases) == 4
    assert len({case.identity for case in cases}) == 4
    assert cases[1].build().shape == (1, 1, 1, 32, 32)


def test_the_multi_coil_scan_keeps_a_quarter():
    (case,) = multi_coil_cases([1])
    problem = case.build()
    kept = (problem.data != 0).any(dim=1)[0, 0, :, 0]
    assert int(kept.sum()) == 64
    assert bool(kept[116:140].all())
    assert problem.reference is not None


def _tiny(task: str = "inpaint-50", seed: int = 0) -> QualityCase:
    from lowfield_recon.evaluation.benchmark.untrained.quality_images import Photograph

    y, x = torch.meshgrid(torch.linspace(0, 3, 24), torch.linspace(0, 2, 24), indexing="ij")
    pixels = (0.5 + 0.4 * torch.sin(3 * y + x))[None, None, None]
    (case,) = photograph_cases([Photograph(name="wave", pixels=pixels)], task, [seed])
    return case


def test_rows_are_scored_as_written_with_the_oracle_beside_them(monkeypatch):
    """A method that shows better images than it returns."""
    case = _tiny()
    reference = case.build().reference

    class Stand:
        def reconstruct(self, problem, progress):
            for number, error in ((1, 0.3), (5, 0.0), (10, 0.1), (20, 0.2)):
                if progress.wants_image(number):
                    progress.show_image(number, reference + error)
            return Reconstruction(
                image=reference - 0.05 * problem.operator.mask, method="dip",
                diagnostics={"iterations": 20, "chosen_iteration": 17}, seconds=2.0,
            )  # fmt: skip

    asked = []
    monkeypatch.setattr(quality_rows, "create", lambda *a: asked.append(a) or Stand())
    record = QualityJob(case=case, row=QualityRow(name="dip", method="dip")).run()
    assert asked == [("dip", {"seed": 0})]
    clipped = (reference - 0.05 * case.build().operator.mask).clamp(0, 1)
    expected = 10 * np.log10(1 / float((clipped - reference).square().mean()))
    assert record["psnr_db"] == pytest.approx(expected, abs=1e-3)
    assert record["oracle_psnr_db"] == record["psnr_db"]  # what is written was better than shown
    assert record["oracle_iteration"] == 10  # 5 is not shown
    assert record["pasted_psnr_db"] > 100
    assert (record["iterations"], record["chosen_iteration"]) == (20, 17)


def test_variants_are_run_on_request_and_differ_from_mg_spair_in_what_they_say():
    (row,) = quality_rows.quality_rows(["mg-spair"])
    assert not set(quality_rows.VARIANTS) & {r.name for r in quality_rows.quality_rows(())} - {
        "mg-spair-plain"
    }
    found = quality_rows.quality_rows(["mg-spair-grades-plain", "mg-spair-wire"])
    assert [(r.name, r.method) for r in found] == [
        ("mg-spair-grades-plain", "mg-spair"), ("mg-spair-wire", "mg-spair")
    ]  # fmt: skip
    usual = row.identity()[1]
    changed = [
        {key for key, value in r.identity()[1].items() if usual[key] != value} for r in found
    ]
    assert changed == [{"grades", "iterations", "penalty"}, {"network"}]


def test_tv_gets_the_best_weight_and_says_so():
    case = _tiny("mixed")
    job = QualityJob(case=case, row=QualityRow(name="tv", method="tv", settings={"iterations": 40}))
    record = job.run()
    problem = case.build()
    measure = Measure(problem)
    others = [
        measure.psnr(
            registry.create("tv", {"iterations": 40, "regularization_weight": w})
            .reconstruct(problem).image
        )
        for w in (record["regularization_weight"] * factor for factor in (0.25, 0.5, 2.0, 4.0))
    ]  # fmt: skip
    assert record["psnr_db"] >= max(others)
    assert record["search_trials"] >= 5
    assert "oracle_psnr_db" not in record


def test_a_refusal_is_a_record():
    job = QualityJob(
        case=_tiny(), row=QualityRow(name="dip", method="dip", settings={"iterations": 1,
        "stop": "discrepancy"}),
    )  # fmt: skip
    assert "noise level" in job.run()["refused"]


def test_results_are_of_problem_settings_seed_threads_and_code(monkeypatch):
    row = QualityRow(name="dip", method="dip")
    key = QualityJob(case=_tiny(), row=row).key(1)
    assert key == QualityJob(case=_tiny(), row=row).key(1)
    others = [
        QualityJob(case=_tiny(seed=1), row=row).key(1),
        QualityJob(case=_tiny("text"), row=row).key(1),
        QualityJob(case=_tiny(), row=row).key(2),
        QualityJob(case=_tiny(), row=QualityRow(name="dip", method="dip",
                                                settings={"budget": 3.0})).key(1),
    ]  # fmt: skip
    monkeypatch.setattr(quality_rows, "method_code", lambda name: "changed")
    others.append(QualityJob(case=_tiny(), row=row).key(1))
    assert len({key, *others}) == 6
    assert len({method_code(name) for name in ("dip", "ngr", "mg-spair")}) == 3


def test_the_identity_of_code_is_what_it_does(tmp_path):
    path = tmp_path / "a.py"
    identities = []
    for text in ('"""One."""\nx = 1\n', '"""Two."""\n# why\nx  =  1\n', "x = 2\n"):
        path.write_text(text)
        identities.append(code_identity([path]))
    assert identities[0] == identities[1] != identities[2]


def _run(row: str, image: str, psnr: float, seed: int = 0, **more: object) -> dict:
    return {"task": "inpaint-50", "image": image, "seed": seed, "row": row, "psnr_db": psnr,
            "ssim": 0.9, "seconds": 2.0, "iterations": 100, **more}  # fmt: skip


def _runs() -> list[dict]:
    return [
        *(_run("dip", "a", 25.0 + s, s, oracle_psnr_db=26.0 + s) for s in (0, 1)),
        *(_run("ngr", "a", 27.0 + s, s, oracle_psnr_db=27.0 + s) for s in (0, 1)),
        _run("dip", "b", 20.0, oracle_psnr_db=20.5),
        _run("ngr", "b", 20.5, oracle_psnr_db=20.6),
        {"task": "inpaint-50", "image": "b", "seed": 1, "row": "ngr", "refused": "too small"},
    ]


def test_means_are_over_images_of_means_over_seeds():
    (summary,) = summarise(_runs())
    dip = summary["rows"][0]
    assert dip["psnr_db"]["mean"] == pytest.approx((25.5 + 20.0) / 2)
    assert dip["rule_minus_oracle_db"] == pytest.approx(-(1.0 + 0.5) / 2)
    (pair,) = summary["pairs"]
    assert (pair["ours"], pair["other"]) == ("ngr", "dip")
    assert pair["psnr_db"]["mean"] == pytest.approx((2.0 + 0.5) / 2)
    assert (pair["psnr_db"]["low"], pair["psnr_db"]["high"]) == pytest.approx((0.5, 2.0))
    assert (summary["n_images"], summary["n_seeds"]) == (2, 2)
    text = quality_tables([summary])
    assert "ngr on b, seed 1: too small" in text
    assert "+1.25 [+0.50, +2.00]" in text


def test_the_verdict_follows_the_numbers():
    assert verdict(summarise(_runs())) == {
        "inpaint-50: ngr at least 0.5 dB above dip": True,
    }
    worse = [r | {"psnr_db": r["psnr_db"] - 1.0} if r["row"] == "ngr" and "psnr_db" in r else r
             for r in _runs()]  # fmt: skip
    assert list(verdict(summarise(worse)).values()) == [False]
    scans = [
        _run("ngr", "s", 30.0, oracle_psnr_db=30.4) | {"task": "brain-0055t"},
        _run("tv", "s", 30.1) | {"task": "brain-0055t"},
    ]
    assert list(verdict(summarise(scans)).values()) == [False, False]
    mixed = [
        _run("mg-spair", "s", 30.0) | {"task": "mixed"}, _run("dip", "s", 29.0) | {"task": "mixed"},
    ]  # fmt: skip
    assert list(verdict(summarise(mixed)).values()) == [True]


def test_a_warm_start_is_compared_slice_by_slice():
    def job(start: str, seed: int) -> TransferJob:
        return TransferJob(cases=(), method="dip", start=start, iterations=100, seed=seed)

    jobs = [job("cold", 0), job("warm", 0), job("cold", 1), job("warm", 1)]
    records = [{"psnr_db": values} for values in
               ([20.0, 21.0], [22.0, 21.0], [20.0, 20.0], [24.0, 21.0])]  # fmt: skip
    (entry,) = transfer_summary(jobs, records)
    assert entry["gain_db"]["mean"] == pytest.approx((3.0 + 0.5) / 2)
    assert (entry["cold_db"], entry["warm_db"]) == (20.25, 22.0)
    assert "| dip    | 100 " in transfer_table([entry])
    assert transfer_summary(jobs[:2], [{"refused": "no"}, records[1]]) == []


def test_warm_starts_carry_weights_and_cold_ones_do_not():
    jobs = {(job.method, job.start, job.iterations): job
            for job in transfer_jobs([0], ("dip",), is_small=True)}  # fmt: skip
    assert len(jobs) == 4
    job = jobs["dip", "cold", 10]
    cold, warm = (jobs["dip", start, 10].run()["psnr_db"] for start in ("cold", "warm"))
    settings = {"iterations": 10, "channels": 8, "scales": 3, "stop": "last"}
    for case, score, other in zip(job.cases[1:], cold, warm, strict=True):
        problem = case.build()
        alone = registry.create("dip", settings).reconstruct(problem).image
        assert score == Measure(problem, "real part").psnr(alone)
        assert other != score
    assert job.key(1) != jobs["dip", "warm", 10].key(1)


@dataclass(frozen=True)
class Quick:
    """A job that says how it was done."""

    number: int

    @property
    def name(self) -> str:
        return str(self.number)

    def key(self, threads: int) -> str:
        return f"{self.number} {threads}"

    def run(self) -> dict:
        return {"square": self.number**2, "threads": torch.get_num_threads()}


def test_jobs_run_here_with_the_threads_that_were_asked_for():
    before = torch.get_num_threads()
    found = dict(run_jobs([Quick(2), Quick(3)], threads=before + 1))
    assert {i: record["square"] for i, record in found.items()} == {0: 4, 1: 9}
    assert {record["threads"] for record in found.values()} == {before + 1}
    assert torch.get_num_threads() == before


def test_a_process_that_dies_is_named(monkeypatch):
    dead: Future[dict] = Future()
    dead.set_exception(BrokenProcessPool())
    monkeypatch.setattr(side_by_side, "_submitted", lambda pool, jobs: {dead: 0})
    with pytest.raises(DataError, match="a worker process ended before its work did"):
        list(run_jobs([Quick(1), Quick(2)], workers=2))


def test_processes_side_by_side_give_the_same_and_who_stops_early_leaves_none():
    row = QualityRow(name="tv", method="tv", settings={"iterations": 5})
    endless = dataclasses.replace(_tiny(), build=partial(time.sleep, 600.0))
    jobs = [QualityJob(case=case, row=row) for case in (_tiny(), _tiny(seed=1), endless)]
    here = dict(run_jobs(jobs[:2], threads=1))
    results = run_jobs(jobs, workers=2)
    there = dict(itertools.islice(results, 2))
    assert sorted(there) == [0, 1]
    for index, record in there.items():
        assert {**record, "seconds": 0} == {**here[index], "seconds": 0}
    results.close()
    for process in active_children():
        process.join(5)
    assert not active_children()


def test_it_runs_writes_and_goes_on(tmp_path):
    _write(tmp_path / "colour.png", 33, 40)
    folder = tmp_path / "out"
    folder.mkdir()
    options = BenchmarkOptions(
        size="small", images=(str(tmp_path / "colour.png"),), tasks=("inpaint-50", "mixed"),
        threads=(1,), seeds=(0, 1), tools=("tv", "ngr", "mg-spair"),
    )  # fmt: skip
    told = []
    run = find_benchmark("untrained-quality").run
    outcome = run(options, folder, lambda step, total, what: told.append((step, total, what)))
    report = json.loads(outcome.json_path.read_text())
    assert [summary["task"] for summary in report["tasks"]] == ["inpaint-50", "mixed"]
    assert len(report["runs"]) == 12
    assert not any("refused" in entry for entry in report["runs"])
    assert told[0] == (0, 12, "inpaint-50, colour, seed 0: tv")
    assert told[-1][:2] == (12, 12)
    assert outcome.markdown_path.read_text() == outcome.table
    assert "WITH truth" in outcome.table
    assert report["verdict"] == {}
    again = json.loads(run(options, folder).json_path.read_text())
    assert again["results_of_an_earlier_run"] == 12
    assert again["runs"] == report["runs"]


def test_an_interrupted_run_keeps_what_was_finished(tmp_path):
    options = BenchmarkOptions(size="small", tasks=("text",), threads=(1,), tools=("tv", "ngr"))
    run = find_benchmark("untrained-quality").run

    def stop(step, total, what):
        if step == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(options, tmp_path, stop)
    report = json.loads(run(options, tmp_path).json_path.read_text())
    assert report["results_of_an_earlier_run"] == 1


def test_unknown_words_are_refused(tmp_path):
    run = find_benchmark("untrained-quality").run
    with pytest.raises(UsageError, match="inpaint-10"):
        run(BenchmarkOptions(tasks=("inpaint-1",)), tmp_path)
    with pytest.raises(UsageError, match="mg-spair"):
        run(BenchmarkOptions(tools=("mgspair",), size="small"), tmp_path)
    with pytest.raises(UsageError, match="small"):
        run(BenchmarkOptions(size="smal"), tmp_path)


def test_refusals_alone_make_no_table(tmp_path, monkeypatch):
    def refuse(problem, case, row):
        raise DataError("far too small.")

    monkeypatch.setattr(quality_rows, "_fitted", refuse)
    options = BenchmarkOptions(
        size="small", tasks=("mixed",), tools=("mg-spair",), run_budget=1.0, threads=(1,)
    )
    with pytest.raises(DataError, match="no method took any problem: far too small"):
        find_benchmark("untrained-quality").run(options, tmp_path)
    monkeypatch.undo()
    for name, place in METHODS.items():
        monkeypatch.setitem(registry._BUILT_IN, name, place)
    outcome = find_benchmark("untrained-quality").run(options, tmp_path)
    report = json.loads(outcome.json_path.read_text())
    assert report["results_of_an_earlier_run"] == 0  # refusals are tried again
    assert "At most 1 s per run" in outcome.table


def test_methods_are_not_given_the_reference(monkeypatch):
    seen = []

    class Stand:
        def reconstruct(self, problem, progress):
            assert progress.wants_image(1)
            seen.append(problem.reference)
            return Reconstruction(image=problem.data, method="dip")

    monkeypatch.setattr(quality_rows, "create", lambda *a: Stand())
    QualityJob(case=_tiny(), row=QualityRow(name="dip", method="dip")).run()
    assert seen == [None]
