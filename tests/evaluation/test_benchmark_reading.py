"""`benchmark reading`: every reader reads the same samples, and the verdict follows the numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.evaluation.benchmark import BenchmarkOptions, reading, reading_worker
from lowfield_recon.evaluation.benchmark.reading import CASES, TINY
from lowfield_recon.evaluation.benchmark.reading_file import ReadingCase, write_reading_file
from lowfield_recon.evaluation.benchmark.reading_worker import READERS, energy_of, measure
from lowfield_recon.scan import load_scan

VOLUMES = ReadingCase(name="volumes", repetitions=2, slices=1, shape=(3, 8, 16), n_coils=2)


def test_the_full_size_is_a_gigabyte_in_slices_and_in_volumes():
    sizes = {case.name: case.sample_bytes for case in CASES["full"]}
    assert sizes["2d"] == sizes["3d"] == 2**30


@pytest.mark.parametrize("case", [TINY, VOLUMES], ids=["slices", "volumes"])
def test_the_file_holds_what_the_case_says(tmp_path, case):
    write_reading_file(tmp_path / "a.h5", case, seed=3)
    scan = load_scan(tmp_path / "a.h5")
    assert len(scan.images) == case.repetitions * case.slices
    assert scan.n_readouts == case.n_readouts
    assert not scan.repairs
    data = scan.kspace(len(scan.images) - 1).data
    assert tuple(data.shape) == (1, case.n_coils, *case.shape)
    assert data.nbytes == case.image_bytes


@pytest.mark.parametrize("tool", READERS)
def test_every_reader_reads_all_samples(tmp_path, tool):
    write_reading_file(tmp_path / "a.h5", VOLUMES, seed=3)
    parts = list(READERS[tool](tmp_path / "a.h5"))
    records = next(READERS["h5py-at-once"](tmp_path / "a.h5"))
    expected = sum(float(np.sum(row.astype(np.float64) ** 2)) for row in records["data"])
    assert sum(energy_of(part) for part in parts) == pytest.approx(expected, rel=1e-6)


def test_a_measurement_has_as_many_repeats_as_asked_for_and_time_allows(tmp_path, monkeypatch):
    for name in ("a", "tiny"):
        write_reading_file(tmp_path / f"{name}.h5", TINY, seed=3)
    request = {"tool": "h5py", "file": str(tmp_path / "a.h5"), "tiny": str(tmp_path / "tiny.h5"),
               "repeats": 3, "is_cold": True, "seconds": 60.0}  # fmt: skip
    assert len(measure({**request, "repeats": 5})["seconds"]) == 5
    assert len(measure({**request, "repeats": 5, "seconds": 0.0})["seconds"]) == 3
    monkeypatch.setattr(reading_worker, "_LONG_S", 0.0)
    assert len(measure({**request, "repeats": 5, "seconds": 0.0})["seconds"]) == 1


def test_it_runs_and_writes_json_and_table(tmp_path):
    options = BenchmarkOptions(size="small", tools=("h5py",), cases=("2d",), repeats=2)
    outcome = reading.run(options, tmp_path)
    report = json.loads(outcome.json_path.read_text())
    assert [entry["tool"] for entry in report["runs"]] == ["h5py", "ours"]
    assert all(len(entry["warm_seconds"]) == 2 for entry in report["runs"])
    assert outcome.markdown_path.read_text() == outcome.table
    assert "| ours" in outcome.table
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "benchmark_reading.json",
        "benchmark_reading.md",
    ]


@pytest.mark.parametrize(
    ("seconds", "above_mib", "is_timed", "expected"),
    [
        (1.9, 100.0, True, True),
        (2.1, 100.0, True, False),
        (2.1, 100.0, False, True),
        (1.0, 1000.0, True, False),
    ],
)
def test_the_verdict_follows_speed_and_memory(seconds, above_mib, is_timed, expected):
    ours = {"warm_median": seconds, "peak_above_baseline_mib": above_mib,
            "image_bytes": 64 << 20, "n_readouts": 1000}  # fmt: skip
    assert reading._is_met(ours, {"warm_median": 1.0}, is_timed=is_timed) == expected


def test_readers_that_read_other_samples_are_not_timed():
    runs = [{"tool": "h5py", "energy_of_tiny": 1.0}, {"tool": "ours", "energy_of_tiny": 1.1}]
    with pytest.raises(DataError, match=r"ours: read samples of energy 1\.1"):
        reading._check_agreement(runs)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (BenchmarkOptions(size="huge"), "huge"),
        (BenchmarkOptions(tools=("mrpo",)), "Did you mean 'mrpro'"),
        (BenchmarkOptions(cases=("4d",)), "4d"),
        (BenchmarkOptions(budget=0.0), "budget"),
    ],
)
def test_wrong_options_are_refused(tmp_path, options, text):
    with pytest.raises(UsageError, match=text):
        reading.run(options, tmp_path)
