"""Images by subject: where they come from, how they are split, and what is refused."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest
import torch

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.files import sha256_of
from lowfield_recon.learning import image_set
from lowfield_recon.learning.image_set import ImageSet, load_images


def named(*names):
    return ImageSet(images={name: (torch.ones(20, 20),) for name in names})


@pytest.fixture
def folder(tmp_path):
    g = np.random.default_rng(0)
    for name in ("head2", "head10"):
        volume = g.random((30, 4, 24), dtype=np.float32)
        volume[:, 1] = 0
        nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / f"{name}.nii.gz")
    np.save(tmp_path / "photo.npy", g.random((20, 22), dtype=np.float32))
    (tmp_path / "README.md").write_text("no image")
    return tmp_path


def test_folder_gives_its_images_by_subject(folder):
    images = load_images([folder], licence="CC0-1.0", source="made here")
    assert images.subjects == ("head10", "head2", "photo")
    stored = np.asarray(nibabel.load(folder / "head2.nii.gz").dataobj)
    slices = images.images["head2"]
    assert len(slices) == 3  # the slice of zeros is left out
    for found, j in zip(slices, (0, 2, 3), strict=True):
        assert torch.equal(found, torch.from_numpy(stored[:, j].T.copy()))
    record = images.describe()
    assert record["licence"] == "CC0-1.0"
    assert record["source"] == "made here"
    assert record["n_images"] == 7
    assert record["image_sizes"] == ["20x22", "24x30"]
    assert record["files"]["photo.npy"] == sha256_of(folder / "photo.npy")
    assert len(record["files"]) == 3


def test_files_folders_and_patterns_name_each_file_once(folder):
    whole = load_images([folder])
    again = load_images([folder / "photo.npy", str(folder / "head*.nii.gz"), folder])
    assert again.subjects == whole.subjects
    assert again.n_images == whole.n_images
    assert load_images([folder / "head1*"]).subjects == ("head10",)


def test_slice_axis_can_be_said(tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).random((20, 24, 30), dtype=np.float32))
    path = tmp_path / "a.npy"
    assert tuple(load_images([path]).images["a"][0].shape) == (24, 30)
    assert tuple(load_images([path], slice_axis="y").images["a"][0].shape) == (20, 30)
    images = load_images([path], slice_axis="x").images["a"]
    assert len(images) == 30
    assert torch.equal(images[7], torch.from_numpy(np.load(path)[:, :, 7].copy()))


def test_complex_stays_complex_and_colours_become_grey(tmp_path):
    g = np.random.default_rng(0)
    x = (g.random((20, 20)) + 1j * g.random((20, 20))).astype(np.complex64)
    np.save(tmp_path / "complex.npy", x)
    rgb = g.random((1, 3, 1, 20, 20), dtype=np.float32)
    np.save(tmp_path / "rgb.npy", rgb)
    images = load_images([tmp_path]).images
    assert torch.equal(images["complex"][0], torch.from_numpy(x))
    assert torch.allclose(images["rgb"][0], torch.from_numpy(rgb[0, :, 0].mean(axis=0)))


def test_key_chooses_an_array(tmp_path):
    first, second = np.ones((20, 20)), np.full((3, 20, 20), 2.0)
    np.savez(tmp_path / "two.npz", first=first, second=second)
    images = load_images([tmp_path / "two.npz"], key="second").images["two"]
    assert len(images) == 3
    assert images[0].dtype == torch.float32
    assert bool((images[0] == 2).all())


def test_pattern_puts_files_of_a_subject_together(tmp_path):
    for name in ("p1_T1", "p1_T2", "p2_T1"):
        np.save(tmp_path / f"{name}.npy", np.ones((20, 20)))
    images = load_images([tmp_path], subject_pattern=r"(?P<subject>p\d+)_")
    assert images.subjects == ("p1", "p2")
    assert len(images.images["p1"]) == 2
    assert set(images.describe()["files"]) == {"p1_T1.npy", "p1_T2.npy", "p2_T1.npy"}
    with pytest.raises(DataError, match=r"p1_T1.npy: subject_pattern .* finds no subject"):
        load_images([tmp_path], subject_pattern=r"(?P<subject>q\d+)_")
    with pytest.raises(UsageError, match="no group 'subject'"):
        load_images([tmp_path], subject_pattern=r"p\d+")
    with pytest.raises(UsageError, match="is no expression"):
        load_images([tmp_path], subject_pattern="(")


def test_split_by_name_and_by_number():
    names = [f"head{i}" for i in range(20)]
    images = named(*names)
    train, held_out = images.split(["head3", "head7"])
    assert held_out.subjects == ("head3", "head7")
    assert set(train.subjects) | set(held_out.subjects) == set(names)
    assert not set(train.subjects) & set(held_out.subjects)
    assert images.split("head3")[1].subjects == ("head3",)
    first = images.split(5, seed=1)[1].subjects
    assert len(first) == 5
    assert named(*reversed(names)).split(5, seed=1)[1].subjects == first
    assert images.split(5, seed=2)[1].subjects != first
    more = named(*names, "another").split(5, seed=1)[1].subjects
    assert len(set(more) & set(first)) >= 4


def test_split_keeps_what_is_known(folder):
    images = load_images([folder], licence="CC0-1.0")
    train, held_out = images.split(["photo"])
    assert held_out.describe()["files"].keys() == {"photo.npy"}
    assert train.describe()["files"].keys() == {"head2.nii.gz", "head10.nii.gz"}
    assert train.licence == "CC0-1.0"


@pytest.mark.parametrize("held_out", [0, 3, 9, -1, [], ["a", "b", "c"]])
def test_split_leaves_someone_on_either_side(held_out):
    with pytest.raises(UsageError, match="at least one of 3 subjects on either side"):
        named("a", "b", "c").split(held_out)


def test_unknown_subject_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match=r"'head' is no subject\. Did you mean 'head1'"):
        named("head1", "knee").split(["head"])


def bad(tmp_path, array):
    np.save(tmp_path / "bad.npy", array)
    return tmp_path / "bad.npy"


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((20, 20)), "zero everywhere"),
        (np.ones((4, 8, 20)), "slices of 8 x 20 pixels; expected 16 to 4096"),
        (np.ones((1, 2, 1, 20, 20), dtype=complex), "2 complex channels"),
        (np.full((20, 20), np.nan), "NaN"),
        (np.ones(20), "shape"),
    ],
)
def test_useless_arrays_are_refused_by_name(tmp_path, array, message):
    with pytest.raises(DataError, match=f"bad.npy.*({message})"):
        load_images([bad(tmp_path, array)])


def test_missing_and_foreign_files_are_refused_by_name(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.png"):
        load_images([tmp_path / "nowhere.png"])
    with pytest.raises(DataError, match="no file matches"):
        load_images([tmp_path / "*.png"])
    with pytest.raises(DataError, match="no path was given"):
        load_images([])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: holds no"):
        load_images([tmp_path / "empty"])
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(DataError, match=r"text\.png"):
        load_images([tmp_path])


def test_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(image_set, "_LARGEST_BYTES", 3000)
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", np.ones((20, 20), dtype=np.float32))
    with pytest.raises(DataError, match=r"b\.npy: with it the images exceed"):
        load_images([tmp_path])
