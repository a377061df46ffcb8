"""Image writers: what each format holds, and that errors leave nothing behind."""

from __future__ import annotations

import gzip
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import ismrmrd
import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.files import sha256_of
from lowfield_recon.problem import Geometry
from lowfield_recon.scan.png import montage, white_level
from lowfield_recon.scan.records import ImageIndex, ScanHeader
from lowfield_recon.scan.writers import ENDINGS, image_ending, open_image_writer

VOLUMES, SLICES, SHAPE = 2, 3, (1, 5, 7)


@pytest.fixture
def images() -> torch.Tensor:
    """Complex images (volume, slice, z, y, x)."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(VOLUMES, SLICES, *SHAPE, dtype=torch.complex64, generator=generator)


@pytest.fixture
def geometries() -> list[Geometry]:
    return [
        Geometry(voxel_size_m=(6e-3, 2e-3, 1e-3), position_m=(0.01, 0.02, 0.006 * i))
        for i in range(SLICES)
    ]


def write(
    path: Path, images: torch.Tensor, geometries: list[Geometry] | None = None, **more: object
) -> tuple[Path, ...]:
    with open_image_writer(
        path,
        volume_shape=tuple(images.shape[:2]),
        image_shape=tuple(images.shape[2:]),
        geometries=geometries,
        **more,  # type: ignore[arg-type]
    ) as writer:
        for volume in images:
            for image in volume:
                writer.append(image[None, None])
    return writer.paths


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("part", "expected"),
    [(None, np.abs), ("magnitude", np.abs), ("phase", np.angle), ("complex", np.asarray)],
)
def test_nifti_holds_x_y_z_volume(
    tmp_path: Path, images: torch.Tensor, geometries: list[Geometry], ending: str, part, expected
) -> None:
    file = tmp_path / f"image{ending}"
    write(file, images, geometries, part=part)
    stored = nibabel.load(file)
    assert stored.shape == (7, 5, 3, 2)
    values = expected(images[:, :, 0].numpy()).transpose(3, 2, 1, 0)
    np.testing.assert_allclose(np.asarray(stored.dataobj), values, rtol=1e-6, atol=1e-6)
    assert stored.get_data_dtype() == (np.complex64 if part == "complex" else np.float32)


def test_same_image_gives_the_same_bytes(
    tmp_path: Path, images: torch.Tensor, geometries: list[Geometry]
) -> None:
    """More than a second apart and under another name: neither may be in the file."""
    header = ScanHeader(encoded_matrix=SHAPE, recon_matrix=SHAPE, field_strength_t=0.055)
    endings = (*ENDINGS, ".dicom")
    for ending in endings:
        write(tmp_path / f"a{ending}", images, geometries, header=header)
    time.sleep(1.1)
    for ending in endings:
        write(tmp_path / f"other{ending}", images, geometries, header=header)
        assert sha256_of(tmp_path / f"a{ending}") == sha256_of(tmp_path / f"other{ending}"), ending


def test_ismrmrd_images_carry_counters(tmp_path: Path, images: torch.Tensor) -> None:
    volumes = [ImageIndex(contrast=1, phase=2), ImageIndex(contrast=1, set=3, average=1)]
    write(tmp_path / "a.h5", images, volumes=volumes)
    with ismrmrd.Dataset(tmp_path / "a.h5", mode="r") as dataset:
        found = [dataset.read_image("image_0", i) for i in (0, 3)]
    counters = [(i.contrast, i.repetition, i.phase, i.set, i.average) for i in found]
    assert counters == [(1, 0, 2, 0, 0), (1, 0, 0, 3, 1)]


def test_gzip_is_complete(tmp_path: Path, images: torch.Tensor) -> None:
    write(tmp_path / "a.nii.gz", images)
    with gzip.open(tmp_path / "a.nii.gz") as stream:
        assert len(stream.read()) == 352 + 4 * images.numel()


def test_unknown_orientation_is_not_claimed(tmp_path: Path, images: torch.Tensor) -> None:
    unknown = [Geometry(voxel_size_m=(6e-3, 2e-3, 1e-3), is_known=False)] * SLICES
    write(tmp_path / "a.nii", images, unknown)
    header = nibabel.load(tmp_path / "a.nii").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (0, 0)
    np.testing.assert_allclose(header.get_zooms()[:3], [1, 2, 6])


def test_both_parts_make_two_files(tmp_path: Path, images: torch.Tensor) -> None:
    paths = write(tmp_path / "a.b.nii.gz", images, part="both")
    assert [path.name for path in paths] == ["a.b_magnitude.nii.gz", "a.b_phase.nii.gz"]
    magnitude, phase = (np.asarray(nibabel.load(path).dataobj) for path in paths)
    values = images[:, :, 0].numpy().transpose(3, 2, 1, 0)
    np.testing.assert_allclose(magnitude * np.exp(1j * phase), values, atol=1e-5)


def test_ismrmrd_images_carry_their_place(
    tmp_path: Path, images: torch.Tensor, geometries: list[Geometry]
) -> None:
    header = ScanHeader(encoded_matrix=SHAPE, recon_matrix=SHAPE, field_strength_t=0.055)
    write(tmp_path / "a.h5", images, geometries, header=header)
    with ismrmrd.Dataset(tmp_path / "a.h5", mode="r") as dataset:
        assert dataset.number_of_images("image_0") == 6
        image = dataset.read_image("image_0", 4)
        xml = ismrmrd.xsd.CreateFromDocument(dataset.read_xml_header())
    np.testing.assert_array_equal(image.data[0], images[1, 1].numpy())
    assert image.matrix_size == (7, 5, 1)
    assert image.image_type == ismrmrd.IMTYPE_COMPLEX
    assert (image.slice, image.repetition, image.image_index) == (1, 1, 5)
    np.testing.assert_allclose(list(image.field_of_view), [7, 10, 6], rtol=1e-6)
    np.testing.assert_allclose(list(image.position), [10, 20, 6], rtol=1e-6)
    assert tuple(image.read_dir) == (1, 0, 0)
    assert tuple(image.slice_dir) == (0, 0, 1)
    assert image.meta["ImageColumnDir"] == ["0", "1", "0"]
    assert xml.experimentalConditions.H1resonanceFrequency_Hz == 2341761


@pytest.mark.parametrize("part", ["magnitude", "phase"])
def test_ismrmrd_images_of_real_values(tmp_path: Path, images: torch.Tensor, part: str) -> None:
    write(tmp_path / "a.h5", images, part=part)
    with ismrmrd.Dataset(tmp_path / "a.h5", mode="r") as dataset:
        image = dataset.read_image("image_0", 0)
    assert image.data.dtype == np.float32
    assert tuple(image.read_dir) == (0, 0, 0)


def test_npy_keeps_complex_values(tmp_path: Path, images: torch.Tensor) -> None:
    write(tmp_path / "a.npy", images)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), images[:, :, 0].numpy())
    write(tmp_path / "b.npy", images, part="magnitude")
    assert np.load(tmp_path / "b.npy").dtype == np.float32


def test_png_is_a_grid_on_one_scale(tmp_path: Path) -> None:
    """Plane i has the constant value i; black is 0, white the 99.9th percentile of all: 5."""
    planes = torch.arange(6.0).reshape(2, 3, 1, 1, 1).expand(2, 3, 1, 20, 20)
    write(tmp_path / "a.png", planes)
    picture = Image.open(tmp_path / "a.png")
    grid = np.asarray(picture)
    assert grid.shape == (40, 60)
    assert grid.dtype == np.uint8
    expected = np.rint(np.arange(6) / 5 * 255)
    np.testing.assert_array_equal(grid[10::20, 10::20].flat, expected)
    assert picture.text["scale"] == "black 0, white 5"


def test_png_of_phase_runs_from_minus_pi_to_pi(tmp_path: Path) -> None:
    image = torch.full((1, 1, 1, 4, 4), -1j, dtype=torch.complex64)
    write(tmp_path / "a.png", image, part="phase")
    assert int(np.asarray(Image.open(tmp_path / "a.png"))[0, 0]) == round(255 / 4)


def test_white_level_is_the_percentile() -> None:
    rng = np.random.default_rng(0)
    planes = rng.rayleigh(size=(5, 100, 100)).astype(np.float32)
    exact = np.percentile(planes, 99.9)
    assert white_level(planes) == pytest.approx(float(exact), rel=1e-3)
    assert white_level(np.zeros((1, 3, 3), dtype=np.float32)) == 1.0


def test_montage_of_wide_planes_is_about_square() -> None:
    grid = montage(np.ones((12, 10, 40), dtype=np.float32), 0, 1)
    assert grid.shape == (60, 80)
    assert int(grid.min()) == 255


def test_a_real_image_is_taken_as_it_is(tmp_path: Path) -> None:
    image = torch.tensor([[-1.0, 2.0]]).reshape(1, 1, 1, 1, 2)
    write(tmp_path / "a.nii", image)
    np.testing.assert_array_equal(np.asarray(nibabel.load(tmp_path / "a.nii").dataobj).flat, [1, 2])


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, "missing", "nan", "shape"])
def test_no_half_files(tmp_path: Path, images: torch.Tensor, ending: str, failure) -> None:
    file = tmp_path / f"image{ending}"
    file.write_bytes(b"from before")
    expected = DataError if isinstance(failure, str) else failure
    with (
        pytest.raises(expected),
        open_image_writer(
            file, volume_shape=(VOLUMES, SLICES), image_shape=SHAPE, part="magnitude"
        ) as writer,
    ):
        writer.append(images[0, 0][None, None])
        if failure == "nan":
            writer.append(images[0, 1] * float("nan"))
        elif failure == "shape":
            writer.append(images[0, 1, :, :-1])
        elif failure != "missing":
            raise failure
    assert [entry.name for entry in tmp_path.iterdir()] == [file.name]
    assert file.read_bytes() == b"from before"


def test_too_many_images(tmp_path: Path, images: torch.Tensor) -> None:
    with (
        pytest.raises(DataError, match="all 1 images"),
        open_image_writer(tmp_path / "a.npy", volume_shape=(1, 1), image_shape=SHAPE) as writer,
    ):
        writer.append(images[0, 0])
        writer.append(images[0, 1])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("folder.png", "is a folder, expected a file"),
        (".png", "no writer"),
        ("a.v2", "a name without an ending, or ending in .dicom, makes a folder of DICOM"),
        ("a.nifti", "Did you mean '.nii'"),
        ("a.jpg", "no writer for '.jpg'"),
        (".nii.gz", "no writer"),
    ],
)
def test_unknown_endings(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UsageError, match=message):
        image_ending(tmp_path / name)


def test_endings_that_make_a_folder_of_dicom(tmp_path: Path) -> None:
    (tmp_path / "brain.v2").mkdir()
    for name in ("series", "series.dcm", "a.DICOM", "brain.v2", "a.png/", "new.v3/"):
        assert image_ending(f"{tmp_path}/{name}") == ".dicom"


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"part": "fase"}, UsageError, "Did you mean 'phase'"),
        ({"part": "complex"}, UsageError, "cannot hold complex"),
        ({"volume_shape": (0, 1)}, DataError, "at least one volume"),
        ({"geometries": [None, None]}, DataError, "one for each of the 1 slices, got 2"),
        ({"volumes": []}, DataError, "counters for each of the 1 volumes, got 0"),
    ],
)
def test_wrong_use_is_seen_before_the_first_image(
    tmp_path: Path, settings: dict, error: type[Exception], message: str
) -> None:
    defaults = {"volume_shape": (1, 1), "image_shape": SHAPE}
    with pytest.raises(error, match=message):
        open_image_writer(tmp_path / "a.png", **(defaults | settings))


def test_irregular_slices_leave_nothing(tmp_path: Path) -> None:
    uneven = [
        Geometry(voxel_size_m=(1e-3, 1e-3, 1e-3), position_m=(0, 0, z)) for z in (0, 1e-3, 5e-3)
    ]
    with (
        pytest.raises(DataError, match=r"a\.nii: slices: the steps"),
        open_image_writer(
            tmp_path / "a.nii", volume_shape=(1, 3), image_shape=SHAPE, geometries=uneven
        ),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    """40 images of 512 x 512 are 80 MB as complex64; a writer that collects them shows."""
    code = f"""
        import pathlib, resource, torch
        from lowfield_recon.scan.writers import open_image_writer
        image = torch.zeros(1, 1, 1, 512, 512, dtype=torch.complex64)
        image[..., ::7, ::3] = 1 + 1j
        def run(n):
            for ending in (".nii", ".h5", ".npy", ".dicom"):
                file = pathlib.Path({str(tmp_path)!r}) / ("image" + ending)
                part = "phase" if ending == ".dicom" else "complex"
                with open_image_writer(file, volume_shape=(1, n), image_shape=(1, 512, 512),
                                       part=part) as writer:
                    for _ in range(n):
                        writer.append(image)
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(run(3), run(40))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    few, many = map(int, done.stdout.split())
    assert many - few < 30_000  # kB
