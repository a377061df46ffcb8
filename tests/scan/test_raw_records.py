"""Values read straight from the heaps equal those that h5py gives, wherever they lie."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from ismrmrd.hdf5 import acquisition_dtype

from lowfield_recon.errors import DataError
from lowfield_recon.scan import raw_records
from lowfield_recon.scan.raw_records import has_plain_records, locate_values, record_chunks
from lowfield_recon.scan.readouts import ReadoutFile


def write(path, lengths, *, positions=0, chunks=None, text=None, **options):
    """Readouts of given lengths (float32 values), with as many positions each."""
    rng = np.random.default_rng(4)
    rows = np.zeros(len(lengths), dtype=acquisition_dtype)
    for name, sizes in (("data", lengths), ("traj", [positions] * len(lengths))):
        values = np.empty(len(lengths), dtype=object)
        for i, n in enumerate(sizes):
            values[i] = rng.normal(size=n).astype(np.float32)
        rows[name] = values
    rows["head"]["scan_counter"] = np.arange(len(lengths))
    with h5py.File(path, "w") as file:
        if text is not None:  # lies in the heap that the first readouts go to
            file.create_dataset("dataset/xml", (1,), dtype=h5py.special_dtype(vlen=str))[0] = text
        file.create_dataset("dataset/data", data=rows, dtype=acquisition_dtype, chunks=chunks,
                            **options)  # fmt: skip
    return rows


def spy_on_heaps(monkeypatch):
    walked = []
    walk = raw_records.heap_objects

    def spy(descriptor, address, size):
        walked.append(address)
        return walk(descriptor, address, size)

    monkeypatch.setattr(raw_records, "heap_objects", spy)
    return walked


@pytest.mark.parametrize("chunks", [None, (1,), (7,)])
@pytest.mark.parametrize("length", [2, 16, 130, 1500, 20000])
@pytest.mark.parametrize("positions", [0, 6])
def test_values_lie_where_they_are_expected(tmp_path, monkeypatch, chunks, length, positions):
    rows = write(tmp_path / "a.h5", [length] * 30, positions=positions, chunks=chunks)
    walked = spy_on_heaps(monkeypatch)
    file = ReadoutFile(path=tmp_path / "a.h5", group="dataset")
    chosen = np.array([0, 3, 4, 17, 29])
    samples = file.samples(chosen, 1, length // 2)
    np.testing.assert_array_equal(samples.view(np.float32)[:, 0], np.stack(rows["data"][chosen]))
    if positions:
        found = file.trajectories(chosen, 3, 2)
        np.testing.assert_array_equal(found.reshape(5, 6), np.stack(rows["traj"][chosen]))
    assert walked == []


def test_values_behind_those_of_another_data_set_are_found_by_walking_the_heap(
    tmp_path, monkeypatch
):
    rows = write(tmp_path / "a.h5", [64] * 40, text="header")
    walked = spy_on_heaps(monkeypatch)
    samples = ReadoutFile(path=tmp_path / "a.h5", group="dataset").samples(np.arange(40), 1, 32)
    np.testing.assert_array_equal(samples.view(np.float32)[:, 0], np.stack(rows["data"]))
    assert len(set(walked)) == 1


def test_values_that_were_written_again_are_found(tmp_path):
    rows = write(tmp_path / "a.h5", [64] * 40)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        for i in (3, 11, 30):
            record = file["dataset/data"][i]
            record["data"] = rows["data"][i] = np.arange(64, dtype=np.float32) + i
            file["dataset/data"][i] = record
    samples = ReadoutFile(path=tmp_path / "a.h5", group="dataset").samples(np.arange(40), 1, 32)
    np.testing.assert_array_equal(samples.view(np.float32)[:, 0], np.stack(rows["data"]))


def test_compressed_records_are_read_by_the_library(tmp_path):
    rows = write(tmp_path / "a.h5", [64] * 20, chunks=(4,), compression="gzip")
    with h5py.File(tmp_path / "a.h5") as file:
        assert not has_plain_records(file["dataset/data"])
    samples = ReadoutFile(path=tmp_path / "a.h5", group="dataset").samples(np.arange(20), 1, 32)
    np.testing.assert_array_equal(samples.view(np.float32)[:, 0], np.stack(rows["data"]))


def test_headers_come_without_samples(tmp_path):
    rows = write(tmp_path / "a.h5", [8, 0, 30], chunks=(2,))
    with h5py.File(tmp_path / "a.h5") as file:
        data = file["dataset/data"]
        parts = [(start, part.copy()) for start, part in record_chunks(data)]
        values = locate_values(data, "data")
    assert [start for start, _ in parts] == [0, 2]
    heads = np.concatenate([part["head"] for _, part in parts])
    assert heads["scan_counter"].tolist() == rows["head"]["scan_counter"].tolist()
    assert values.pointers["n_values"].tolist() == [8, 0, 30]
    assert values.offsets[1] == -1


@pytest.mark.parametrize("where", ["signature", "end"])
def test_a_damaged_heap_ends_in_one_line(tmp_path, where):
    write(tmp_path / "a.h5", [64] * 40)
    content = bytearray((tmp_path / "a.h5").read_bytes())
    heap = content.index(b"GCOL")
    if where == "signature":
        content[heap : heap + 4] = b"XXXX"
        content[heap + 16 : heap + 18] = b"\xff\xff"
    else:
        del content[heap + 64 :]
    (tmp_path / "a.h5").write_bytes(content)
    file = ReadoutFile(path=tmp_path / "a.h5", group="dataset")
    with pytest.raises(DataError, match=r"^a\.h5: .*(heap|cannot be read|ends)"):
        file.samples(np.arange(40), 1, 32)
