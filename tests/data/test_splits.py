"""Nobody is on both sides of a split."""

from __future__ import annotations

import pytest

from lowfield_recon.data import load_manifest, split_files, split_of, subject_of
from lowfield_recon.errors import DataError

M4RAW = ["T101", "T102", "T103", "T201", "T202", "T203", "FLAIR01", "FLAIR02"]


def test_m4raw_keeps_all_repetitions_of_a_subject_together() -> None:
    manifest = load_manifest("m4raw")
    names = [f"multicoil_train/2022061203_{scan}.h5" for scan in M4RAW]
    assert {subject_of(manifest, name) for name in names} == {"2022061203"}
    others = [f"multicoil_val/2022061204_{scan}.h5" for scan in M4RAW]
    assert split_files(manifest, names + others) == {"train": names, "validation": others}
    strayed = "multicoil_val/2022061203_GRE01.h5"
    with pytest.raises(DataError, match=r"subject '2022061203' is in 'train' and in 'validation'"):
        split_files(manifest, [*names, strayed])


def test_the_low_field_patients_are_apart_and_the_sample_is_no_test_patient() -> None:
    manifest, samples = load_manifest("ulf_0055t"), load_manifest("samples")
    names = [file.name for file in manifest.files]
    splits = split_files(manifest, names)
    assert set(splits) == {"train", "validation", "test"}
    assert sum(map(len, splits.values())) == len(names)
    tested = {subject_of(manifest, name) for name in splits["test"]}
    assert tested == {"patient_7b"}
    assert not tested & {file.subject for file in samples.files}


@pytest.mark.parametrize(
    ("dataset", "name", "split"),
    [
        ("fastmri_knee", "multicoil_train/file1000001.h5", "train"),
        ("fastmri_knee", "singlecoil_val/file1000000.h5", "validation"),
        ("fastmri_brain", "multicoil_test_full/file_brain_AXT2_200_6002620.h5", "test"),
        ("bsds500", "BSR/BSDS500/data/images/val/3096.jpg", "validation"),
        ("samples", "camera.png", "demo"),
        ("kodak", "somewhere/else.png", None),
        ("m4raw", "multicoil_motion/2022061203_T101.h5", None),
    ],
)
def test_the_split_of_a_file(dataset: str, name: str, split: str | None) -> None:
    assert split_of(load_manifest(dataset), name) == split


def test_a_file_that_nothing_is_known_of_is_a_subject_of_its_own() -> None:
    assert subject_of(load_manifest("m4raw"), "multicoil_val/unknown.h5") == "unknown"
