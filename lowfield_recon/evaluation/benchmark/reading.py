"""Reading speed: the same ISMRMRD file by every reader, in one run, each in its own process.

The reference is h5py reading the records of the file in blocks, samples as it hands them over. Ours
reads headers, sorts readouts into images and puts every image on its grid. The file is in the
system's page cache (warm); cold runs, with its pages dropped before each, are stated beside.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from lowfield_recon.errors import DataError, UsageError, nearest_name
from lowfield_recon.evaluation.benchmark import BenchmarkOptions, BenchmarkOutcome, StepCallback
from lowfield_recon.evaluation.benchmark.asking import ask
from lowfield_recon.evaluation.benchmark.environment import describe_environment, package_version
from lowfield_recon.evaluation.benchmark.reading_file import ReadingCase, write_reading_file
from lowfield_recon.evaluation.benchmark.reading_worker import MOST_READOUTS
from lowfield_recon.evaluation.benchmark.tables import markdown_table, seconds_text
from lowfield_recon.files import atomic_path

_WORKER = "lowfield_recon.evaluation.benchmark.reading_worker"

SMALLEST_SPEED = 0.5
"""Ours must reach this part of the speed of the reference."""

LARGEST_MEMORY = 1.5
"""Ours may take this multiple of one image's samples, and `BYTES_PER_READOUT` for headers."""

BYTES_PER_READOUT = 2048
_ALLOWANCE_BYTES = 32 << 20

TOOLS: Mapping[str, str] = {
    "h5py": "h5py.File(f)['dataset/data'][i : i + 1024]",
    "h5py-at-once": "h5py.File(f)['dataset/data'][...]",
    "ours": "scan = load_scan(f); scan.kspace(i) for every image",
    "mrpro": "KData.from_file(f, KTrajectoryCartesian())",
    "ismrmrd": "ismrmrd.Dataset(f, mode='r').read_acquisition(i) for every readout",
}
_PACKAGES = {"h5py-at-once": "h5py", "ours": "lowfield-recon"}

CASES: Mapping[str, tuple[ReadingCase, ...]] = {
    "full": (
        ReadingCase(name="2d", repetitions=1, slices=64, shape=(1, 256, 512), n_coils=16),
        ReadingCase(name="3d", repetitions=4, slices=1, shape=(128, 256, 256), n_coils=4),
        ReadingCase(name="3d-one-coil", repetitions=16, slices=1, shape=(64, 128, 256), n_coils=1),
    ),
    "small": (
        ReadingCase(name="2d", repetitions=1, slices=16, shape=(1, 64, 128), n_coils=4),
        ReadingCase(name="3d", repetitions=4, slices=1, shape=(16, 32, 64), n_coils=4),
        ReadingCase(name="3d-one-coil", repetitions=4, slices=1, shape=(16, 32, 64), n_coils=1),
    ),
}
"""One GB of samples in each of the larger two of `full`, a few MB in `small`."""

TINY = ReadingCase(name="tiny", repetitions=1, slices=2, shape=(1, 16, 32), n_coils=2)
_COLD_REPEATS = 2


def run(
    options: BenchmarkOptions, folder: Path, progress: StepCallback | None = None
) -> BenchmarkOutcome:
    """Write generated scans and time every reader on them.

    Parameters
    ----------
    options
        Size, tools, cases, repeats, budget and seed count.
    folder
        Existing folder for `benchmark_reading.json` and `.md`; the scans lie in it while it runs.
    progress
        Told when a step begins.

    Returns
    -------
        Table and files; passed when ours is fast enough and its memory bounded, see
        `SMALLEST_SPEED` and `LARGEST_MEMORY`; of size `small` only the memory is judged.

    Raises
    ------
    UsageError
        If a size, tool or case does not exist.
    DataError
        If a reader fails or reads other samples.
    """
    cases, tools = _chosen_cases(options), _chosen_tools(options)
    if options.budget <= 0:
        raise UsageError(f"--budget {options.budget:g}: expected a time in seconds above 0.")
    share = options.budget / (2 * len(cases) * len(tools))
    runs: list[dict[str, Any]] = []
    environment = describe_environment()
    with tempfile.TemporaryDirectory(prefix=".reading-", dir=folder) as scratch:
        for number, case in enumerate(cases):
            path, tiny = Path(scratch) / "scan.h5", Path(scratch) / "tiny.h5"
            write_reading_file(path, case, options.seed)
            write_reading_file(tiny, TINY, options.seed)
            _flush(path)
            for place, tool in enumerate(tools):
                if progress is not None:
                    step = number * len(tools) + place
                    progress(step, len(cases) * len(tools), f"{case.name}: {tool}")
                request = {
                    "tool": tool,
                    "file": str(path),
                    "tiny": str(tiny),
                    "repeats": options.repeats,
                    "seconds": share,
                }
                warm = _ask({**request, "is_cold": False})
                few = min(options.repeats, _COLD_REPEATS)
                is_slow = sum(warm["seconds"]) > share and len(warm["seconds"]) == 1
                cold = None if is_slow else _ask({**request, "is_cold": True, "repeats": few})
                runs.append(_record(case, tool, path.stat().st_size, warm, cold))
    _check_agreement(runs)
    return _write(runs, options, environment, folder)


def _chosen_cases(options: BenchmarkOptions) -> list[ReadingCase]:
    if options.size not in CASES:
        raise UsageError(f"--size '{options.size}'. {nearest_name(options.size, tuple(CASES))}")
    known = {case.name: case for case in CASES[options.size]}
    wrong = [name for name in options.cases if name not in known]
    if wrong:
        raise UsageError(f"--cases {wrong[0]}: not known. {nearest_name(wrong[0], tuple(known))}")
    return [known[name] for name in options.cases or known]


def _chosen_tools(options: BenchmarkOptions) -> list[str]:
    wrong = [name for name in options.tools if name not in TOOLS]
    if wrong:
        raise UsageError(f"--tools {wrong[0]}: not known. {nearest_name(wrong[0], tuple(TOOLS))}")
    return [name for name in TOOLS if not options.tools or name in {"h5py", "ours", *options.tools}]


def _ask(request: dict[str, Any]) -> dict[str, Any]:
    """Time one reader in a process of its own."""
    advice = "leave it out with --tools, or try --size small"
    return ask(_WORKER, request["tool"], request, advice=advice)


def _flush(path: Path) -> None:
    """Bring the file to the disk, as pages that are not there cannot be dropped."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _record(
    case: ReadingCase, tool: str, file_bytes: int, warm: dict[str, Any], cold: dict[str, Any] | None
) -> dict[str, Any]:
    read = min(case.n_readouts, MOST_READOUTS.get(tool, case.n_readouts))
    scaled = {
        name: [
            seconds * case.n_readouts / read for seconds in (answer or {"seconds": []})["seconds"]
        ]
        for name, answer in (("warm", warm), ("cold", cold))
    }
    return {
        "case": case.name,
        "description": case.describe(),
        "n_readouts": case.n_readouts,
        "sample_bytes": case.sample_bytes,
        "image_bytes": case.image_bytes,
        "file_bytes": file_bytes,
        "tool": tool,
        "version": package_version(_PACKAGES.get(tool, tool)),
        "command": TOOLS[tool],
        "timed_readouts": read,
        "warm_seconds": scaled["warm"],
        "cold_seconds": scaled["cold"],
        "warm_median": median(scaled["warm"]),
        "cold_median": median(scaled["cold"]) if cold else None,
        "baseline_mib": warm["baseline_mib"],
        "peak_mib": warm["peak_mib"],
        "peak_above_baseline_mib": warm["peak_mib"] - warm["baseline_mib"],
        "energy_of_tiny": warm["energy_of_tiny"],
    }


def _check_agreement(runs: Sequence[dict[str, Any]]) -> None:
    """Refuse timings of readers that did not read the same samples."""
    expected = runs[0]["energy_of_tiny"]
    for run_ in runs:
        if abs(run_["energy_of_tiny"] - expected) > 1e-6 * expected:
            raise DataError(
                f"{run_['tool']}: read samples of energy {run_['energy_of_tiny']:.8g}, h5py "
                f"{expected:.8g}; expected the same. Its timing would mean nothing."
            )


def _is_met(run_: Mapping[str, Any], reference: Mapping[str, Any], *, is_timed: bool) -> bool:
    allowed = (
        LARGEST_MEMORY * run_["image_bytes"]
        + BYTES_PER_READOUT * run_["n_readouts"]
        + _ALLOWANCE_BYTES
    )
    is_fast = not is_timed or run_["warm_median"] * SMALLEST_SPEED <= reference["warm_median"]
    return bool(is_fast and 2**20 * run_["peak_above_baseline_mib"] <= allowed)


def _write(
    runs: list[dict[str, Any]],
    options: BenchmarkOptions,
    environment: dict[str, Any],
    folder: Path,
) -> BenchmarkOutcome:
    references = {r["case"]: r for r in runs if r["tool"] == "h5py"}
    rows = []
    has_passed = True
    for r in runs:
        reference = references[r["case"]]
        if r["tool"] == "ours":
            has_passed &= _is_met(r, reference, is_timed=options.size == "full")
        rows.append(_row(r, reference))
    header = ["case", "reader", "warm", "repeats", "speed (h5py = 1)", "cold", "speed, cold",
              "memory above start [MiB]", "of one image"]  # fmt: skip
    described = [f"- {r['case']}: {r['description']}" for r in references.values()]
    verdict = "is met" if has_passed else "is NOT met"
    lines = [
        markdown_table(header, rows),
        "",
        *described,
        "",
        f"Medians; warm: the file is in the page cache; cold: dropped from it before each "
        f"repeat, left out for readers that need more than their share of the budget. "
        f"Imports are not counted; ismrmrd was timed on its first {MOST_READOUTS['ismrmrd']} "
        f"readouts and scaled. Requirement on ours {verdict}: speed at least {SMALLEST_SPEED:g}"
        f" of h5py's when warm (size full), memory at most {LARGEST_MEMORY:g} times one image and "
        f"{BYTES_PER_READOUT} bytes per readout. {environment['cpu']}, {environment['cores']} "
        f"cores, load {environment['load_at_start'] or 0:.2f} at the start.",
    ]
    report = {
        "schema": "lowfield-recon benchmark reading, version 1",
        "environment": environment,
        "size": options.size,
        "seed": options.seed,
        "runs": runs,
        "has_passed": has_passed,
    }
    table = "\n".join(lines) + "\n"
    json_path, markdown_path = folder / "benchmark_reading.json", folder / "benchmark_reading.md"
    for path, text in ((json_path, json.dumps(report, indent=2) + "\n"), (markdown_path, table)):
        with atomic_path(path) as temporary:
            temporary.write_text(text)
    return BenchmarkOutcome(
        table=table, json_path=json_path, markdown_path=markdown_path, has_passed=has_passed
    )


def _row(run_: Mapping[str, Any], reference: Mapping[str, Any]) -> list[str]:
    above, cold = run_["peak_above_baseline_mib"], run_["cold_median"]
    return [
        run_["case"],
        f"{run_['tool']} {run_['version']}",
        seconds_text(run_["warm_median"]),
        str(len(run_["warm_seconds"])),
        f"{reference['warm_median'] / run_['warm_median']:.2g}",
        "-" if cold is None else seconds_text(cold),
        "-" if cold is None else f"{reference['cold_median'] / cold:.2g}",
        f"{above:.0f}",
        f"{2**20 * above / run_['image_bytes']:.2f}",
    ]
