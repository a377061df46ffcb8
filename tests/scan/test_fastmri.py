"""fastMRI files: targets, crops and padding equal those of the `fastmri` package."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import fastmri
import h5py
import numpy as np
import pytest
import torch
from fastmri.data.mri_data import SliceDataset
from fastmri.data.transforms import VarNetDataTransform, center_crop, to_tensor

from lowfield_recon.cli.app import main
from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.scan import load_scan
from lowfield_recon.scan.fastmri_targets import crop_like_target, root_sum_of_squares_target

NAMESPACE = 'xmlns="http://www.ismrm.org/ISMRMRD"'


def random_complex(rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)


def published_target(kspace: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """RSS of one slice `(coils, height, width)` by the `fastmri` package, cut to `size`."""
    images = fastmri.complex_abs(fastmri.ifft2c(to_tensor(kspace)))
    if images.shape[-1] < size[1]:
        size = (images.shape[-1], images.shape[-1])
    return center_crop(fastmri.rss(images), size).numpy()


@dataclass
class FastMriSpec:
    """What to write; the defaults are a knee file scaled down by ten."""

    slices: int = 2
    coils: int | None = 3
    """None: the single-coil layout."""
    height: int = 64
    width: int = 37
    recon: tuple[int, int] = (32, 32)
    """Height and width of the target."""
    limits: tuple[int, int] | None = (31, 16)
    """Maximum and centre of the phase encoding; None: those of a complete grid."""
    padding: tuple[int, int] | None = None
    """First and last acquired column; None: as the limits say."""
    mask: np.ndarray | None = None
    has_target: bool = True
    mend: Callable[[str], str | None] = lambda xml: xml
    """Changes the XML before it is written; None leaves it out."""
    attributes: dict = field(default_factory=lambda: {"acquisition": "CORPD_FBK", "max": 7.5})
    seed: int = 0


def fastmri_header(spec: FastMriSpec) -> str:
    high, center = spec.limits or (spec.width - 1, spec.width // 2)
    pixel = 4.375  # mm, the same in both directions and both spaces

    def space(name: str, height: int, width: int) -> str:
        return (
            f"<{name}><matrixSize><x>{height}</x><y>{width}</y><z>1</z></matrixSize>"
            f"<fieldOfView_mm><x>{pixel * height}</x><y>{pixel * width}</y><z>4.5</z>"
            f"</fieldOfView_mm></{name}>"
        )

    return (
        f'<?xml version="1.0"?><ismrmrdHeader {NAMESPACE}>'
        "<measurementInformation><patientPosition>HFS</patientPosition></measurementInformation>"
        "<acquisitionSystemInformation><systemVendor>SIEMENS</systemVendor>"
        "<systemFieldStrength_T>2.8936</systemFieldStrength_T></acquisitionSystemInformation>"
        "<experimentalConditions><H1resonanceFrequency_Hz>123201493</H1resonanceFrequency_Hz>"
        "</experimentalConditions><encoding>"
        + space("encodedSpace", spec.height, spec.width)
        + space("reconSpace", *spec.recon)
        + "<encodingLimits><kspace_encoding_step_1><minimum>0</minimum>"
        f"<maximum>{high}</maximum><center>{center}</center></kspace_encoding_step_1>"
        f"<slice><minimum>0</minimum><maximum>{spec.slices - 1}</maximum><center>0</center></slice>"
        "</encodingLimits><trajectory>cartesian</trajectory></encoding>"
        "<sequenceParameters><TR>2800</TR><TE>27.0</TE><flipAngle_deg>140</flipAngle_deg>"
        "</sequenceParameters></ismrmrdHeader>"
    )


@dataclass
class BuiltFastMri:
    path: Path
    kspace: np.ndarray
    """(slices, coils, height, width)."""
    targets: np.ndarray | None
    spec: FastMriSpec


def build_fastmri(path: Path, spec: FastMriSpec) -> BuiltFastMri:
    rng = np.random.default_rng(spec.seed)
    n_coils = spec.coils or 1
    kspace = random_complex(rng, (spec.slices, n_coils, spec.height, spec.width))
    high, center = spec.limits or (spec.width - 1, spec.width // 2)
    left = spec.width // 2 - center
    first, last = spec.padding or (left, left + high)
    kspace[..., :first] = 0
    kspace[..., last + 1 :] = 0
    if spec.mask is not None:
        kspace *= spec.mask
    targets = np.stack([published_target(k, spec.recon) for k in kspace])
    header = spec.mend(fastmri_header(spec))
    with h5py.File(path, "w") as file:
        file["kspace"] = kspace if spec.coils else kspace[:, 0]
        if header is not None:
            file["ismrmrd_header"] = header.encode()
        if spec.has_target:
            file["reconstruction_rss" if spec.coils else "reconstruction_esc"] = targets
        if spec.mask is not None:
            file["mask"] = spec.mask
        file.attrs.update(spec.attributes)
    return BuiltFastMri(path, kspace, targets if spec.has_target else None, spec)


@pytest.fixture
def build(tmp_path: Path):
    """Return a function that writes a file: `build(coils=4, width=40)`."""

    def make(name: str = "file1000001.h5", **options: object) -> BuiltFastMri:
        return build_fastmri(tmp_path / name, FastMriSpec(**options))  # type: ignore[arg-type]

    return make


def as_file_order(image: torch.Tensor) -> np.ndarray:
    """Turn `(1, 1, 1, y, x)` into `(height, width)`: the readout x is the height."""
    return image[0, 0, 0].numpy().T


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


SHAPES = {
    "knee 640x368": {"width": 36, "limits": (31, 16)},
    "knee 640x372": {"width": 37, "limits": (31, 16)},
    "image as wide as its matrix": {"width": 32, "limits": (31, 16)},
    "brain 768x396": {"height": 76, "width": 39, "recon": (38, 38), "limits": None},
    "narrower than the image": {"width": 21, "limits": None},
    "640 columns": {"width": 64, "limits": (60, 30)},
    "odd height": {"height": 63, "recon": (31, 31)},
    "odd image of even height": {"height": 62, "recon": (31, 31)},
    "even image of odd height": {"height": 63, "recon": (32, 30)},
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("coils", [None, 1, 4, 15])
def test_targets_equal_those_of_the_fastmri_package(build, shape, coils):
    built = build(coils=coils, **SHAPES[shape])
    scan = load_scan(built.path)
    assert scan.header.n_coils == (coils or 1)
    for index in range(2):
        target = scan.target(index)
        assert target.dtype == torch.float32
        assert target.shape[:3] == (1, 1, 1)
        np.testing.assert_array_equal(as_file_order(target), built.targets[index])
        computed = root_sum_of_squares_target(scan, index)
        assert computed.dtype == torch.float32
        assert relative_error(as_file_order(computed), built.targets[index]) < 1e-6


@pytest.mark.parametrize("shape", SHAPES)
def test_images_lie_on_the_grid_of_the_target(build, shape):
    """The coil images of a problem, cut as fastMRI does, are its images: shift, mirror, scale."""
    built = build(coils=1, **SHAPES[shape])
    scan = load_scan(built.path)
    maps = torch.ones(1, 1, built.spec.width, built.spec.height, dtype=torch.complex64)
    problem = scan.problems(coil_maps=maps, keep_oversampling=True)[1]
    (image,) = problem.operator.H(problem.data)
    target = scan.target(1)
    found = crop_like_target(image, target.shape).abs()
    assert found.shape == target.shape
    assert relative_error(as_file_order(found), built.targets[1]) < 1e-6


@pytest.mark.parametrize("height, recon", [(64, 32), (63, 31), (62, 30), (64, 64)])
def test_cut_readout_lies_on_the_grid_of_the_target(build, height, recon):
    built = build(coils=None, height=height, recon=(recon, 32))
    scan = load_scan(built.path)
    problem = scan.problems()[0]
    assert problem.shape == (1, 1, 1, 37, recon)
    (image,) = problem.operator.H(problem.data)
    found = crop_like_target(image, scan.target(0).shape).abs()
    assert relative_error(as_file_order(found), built.targets[0]) < 1e-6
    assert not any("one pixel" in note for note in scan.assumptions)
    assert problem.geometry.voxel_size_m == pytest.approx((4.5e-3, 4.375e-3, 4.375e-3))
    assert not problem.geometry.is_known


def test_cut_to_an_odd_image_is_named_as_one_pixel_off(build):
    built = build(coils=None, height=62, recon=(31, 32))
    scan = load_scan(built.path)
    assert any("one pixel before the centred cut" in note for note in scan.assumptions)
    problem = scan.problems()[0]
    (image,) = problem.operator.H(problem.data)
    found = as_file_order(crop_like_target(image, (32, 31)).abs())
    expected = built.targets[0]
    np.testing.assert_allclose(found[:-1], expected[1:], rtol=1e-4, atol=1e-5)


def test_readout_is_the_height(build):
    built = build()
    raw = load_scan(built.path).kspace(1)
    assert raw.data.shape == (1, 3, 1, 37, 64)
    np.testing.assert_array_equal(raw.data[0, :, 0].numpy(), built.kspace[1].swapaxes(-1, -2))


def test_header_is_read(build):
    scan = load_scan(build().path)
    header = scan.header
    assert (scan.format, scan.repairs, scan.volume_shape) == ("fastmri", (), (1, 2))
    assert header.encoded_matrix == (1, 37, 64)
    assert header.recon_matrix == (1, 32, 32)
    assert header.encoded_fov_m == pytest.approx((4.5e-3, 37 * 4.375e-3, 64 * 4.375e-3))
    assert header.field_strength_t == pytest.approx(2.8936)
    assert header.larmor_frequency_hz == pytest.approx(123.201493e6)
    assert header.echo_time_s == pytest.approx((27e-3,))
    assert header.repetition_time_s == pytest.approx((2.8,))
    assert header.flip_angle_rad == pytest.approx((np.deg2rad(140),))
    assert header.inversion_time_s is None
    assert header.protocol == "CORPD_FBK"
    assert scan.targets == ("reconstruction_rss",)
    assert scan.target_maximum == 7.5


def test_zero_filled_columns_were_not_acquired(build):
    built = build()
    scan = load_scan(built.path)
    mask = scan.kspace(0).mask
    assert mask.shape == (1, 1, 1, 37, 1)
    assert mask.flatten().nonzero().flatten().tolist() == list(range(2, 34))
    assert not scan.repairs
    assert "Of 37 phase encodings 2 to 33 hold data; zero-filled ones" in " ".join(scan.assumptions)


def test_padding_equals_that_of_the_fastmri_package(build):
    built = build()
    data_set = SliceDataset(built.path.parent, "multicoil")
    metadata = data_set.raw_samples[0].metadata
    rows = load_scan(built.path).kspace(0).mask.flatten().nonzero().flatten()
    assert (metadata["padding_left"], metadata["padding_right"] - 1) == (rows[0], rows[-1])


def test_limits_that_disagree_with_the_data(build):
    scan = load_scan(build(padding=(1, 32)).path)
    (repair,) = scan.repairs
    assert (repair.code, repair.old, repair.new) == ("zero-padding", "2 to 33", "1 to 32")
    assert scan.kspace(0).mask.flatten().nonzero().flatten().tolist() == list(range(1, 33))
    with pytest.raises(DataError, match=r"needs 1 repairs \(zero-padding\)"):
        load_scan(scan.path, strict=True)


def test_rounding_errors_outside_the_limits_are_no_data(build):
    built = build()
    with h5py.File(built.path, "r+") as file:
        kspace = file["kspace"][()]
        kspace[..., 0] = 1e-6
        file["kspace"][...] = kspace
    scan = load_scan(built.path)
    raw = scan.kspace(0)
    assert not scan.repairs
    assert raw.mask.flatten().nonzero().flatten().tolist() == list(range(2, 34))
    assert not raw.data[..., 0, :].any()
    assert any("rounding errors" in note for note in scan.assumptions)


@pytest.mark.parametrize("is_masked_in_file", [True, False])
def test_mask_of_a_test_file(build, is_masked_in_file):
    """As the transform of the package has it: mask and padding both leave samples out."""
    mask = np.zeros(37, dtype=np.float32)
    mask[[1, 2, 5, 9, 14, 15, 16, 17, 18, 19, 22, 27, 33, 36]] = 1
    built = build(mask=mask, has_target=False)
    if not is_masked_in_file:
        with h5py.File(built.path, "r+") as file:
            full = random_complex(np.random.default_rng(5), file["kspace"].shape)
            full[..., :2] = full[..., 34:] = 0
            file["kspace"][...] = full
    scan = load_scan(built.path)
    assert not scan.repairs
    assert scan.targets == ()
    raw = scan.kspace(0)
    transform = VarNetDataTransform()
    attributes = {"padding_left": 2, "padding_right": 34, "recon_size": (32, 32, 1)}
    expected = transform(built.kspace[0], mask, None, attributes, built.path.name, 0)
    assert raw.mask.flatten().tolist() == expected.mask.flatten().tolist()
    assert not (raw.data * ~raw.mask).any()
    assert scan.describe()["sampling_fraction"] == pytest.approx(12 / 37)
    with pytest.raises(UsageError, match="holds no target images"):
        scan.target(0)


def test_lines_left_out_differ_between_slices(build):
    built = build()
    with h5py.File(built.path, "r+") as file:
        kspace = file["kspace"][()]
        kspace[0, ..., 8] = kspace[1, ..., 11] = 0
        file["kspace"][...] = kspace
    scan = load_scan(built.path)
    for index, missing in ((0, 8), (1, 11)):
        rows = scan.kspace(index).mask.flatten().nonzero().flatten().tolist()
        assert rows == [row for row in range(2, 34) if row != missing]
    assert not scan.repairs


def test_same_object_through_ismrmrd_and_fastmri(build, build_scan, tmp_path):
    """One image, written as a Siemens ISMRMRD file and as fastMRI, is read the same way round."""
    through_ismrmrd = build_scan(matrix=(1, 12, 16), oversampling=2, vendor="SIEMENS")
    image = through_ismrmrd.image[0, 0, 0, 0, 0, 0]
    full = np.zeros((12, 32), dtype=np.complex64)
    full[:, 8:24] = image
    shifted = np.fft.ifftshift(full)
    kspace = np.fft.fftshift(np.fft.fft2(shifted, norm="ortho"))
    path = tmp_path / "as_fastmri.h5"
    spec = FastMriSpec(height=32, width=12, recon=(16, 12), limits=None)
    with h5py.File(path, "w") as file:
        file["kspace"] = kspace.T[None, None].astype(np.complex64)
        file["ismrmrd_header"] = fastmri_header(spec)
    images = []
    for scan in (load_scan(through_ismrmrd.path), load_scan(path)):
        problem = scan.problems()[0]
        (found,) = problem.operator.H(problem.data)
        images.append(found[0, 0, 0].numpy())
    assert images[0].shape == (12, 16)
    np.testing.assert_allclose(images[0], image, atol=1e-5)
    np.testing.assert_allclose(images[1], images[0], atol=1e-5)


def test_one_slice_at_a_time(build, monkeypatch):
    built = build(slices=5)
    scan = load_scan(built.path)
    read = []
    original = h5py.Dataset.__getitem__

    def spy(self, args, *more, **options):
        if self.name == "/kspace":
            read.append(args)
        return original(self, args, *more, **options)

    monkeypatch.setattr(h5py.Dataset, "__getitem__", spy)
    scan.kspace(3)
    assert read == [3]


DEFECTS = {
    "missing": (lambda xml: None, "header-missing"),
    "no xml": (lambda xml: "junk", "header-unreadable"),
    "cut": (lambda xml: xml[:200], "header-unreadable"),
    "entities": (lambda xml: "<!DOCTYPE a [<!ENTITY b 'c'>]>" + xml, "header-unreadable"),
    "no matrix": (lambda xml: xml.replace("matrixSize", "size"), "header-unreadable"),
    "no limits": (
        lambda xml: xml.replace("encodingLimits", "limits"),
        "encoding-limits-missing",
    ),
    "no frequency": (lambda xml: xml.replace("experimentalC", "c"), "frequency-missing"),
    "other matrix": (lambda xml: xml.replace("<y>37</y>", "<y>40</y>"), "encoded-matrix-disagrees"),
    "no namespace": (lambda xml: xml.replace(NAMESPACE, ""), "namespace-missing"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_defective_header_is_repaired_and_named(build, defect):
    mend, code = DEFECTS[defect]
    built = build(mend=mend)
    scan = load_scan(built.path)
    assert code in {repair.code for repair in scan.repairs}
    assert scan.header.encoded_matrix == (1, 37, 64)
    assert scan.header.recon_matrix == (1, 32, 32)
    rows = scan.kspace(0).mask.flatten().nonzero().flatten().tolist()
    assert rows == list(range(2, 34))
    computed = root_sum_of_squares_target(scan, 0)
    assert relative_error(as_file_order(computed), built.targets[0]) < 1e-6


def test_what_the_caller_says_counts_without_a_header(build):
    built = build(mend=lambda xml: None)
    scan = load_scan(built.path, field_strength_t=1.5, fov_m=(None, 0.16, 0.28))
    assert scan.header.field_strength_t == 1.5
    problem = scan.problems()[0]
    assert problem.shape == (1, 1, 1, 37, 32)
    assert problem.geometry.voxel_size_m == pytest.approx((0.16 / 37, 0.16 / 37, 0.28 / 64))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.create_dataset("kspace", (2, 3, 4, 5, 6), "c8"), "shape .2, 3, 4, 5, 6."),
        (lambda f: f.create_dataset("kspace", (2, 8, 8), "f4"), "dtype float32"),
        (lambda f: f.create_dataset("kspace", (0, 8, 8), "c8"), "expected .slices, coils"),
        (
            lambda f: f.create_dataset("kspace", (4, 9, 9000, 9000), "c8", chunks=(1, 1, 99, 99)),
            "but 0 bytes of it are in the file",
        ),
        (lambda f: f.create_group("kspace"), "'kspace' is no array"),
        (lambda f: f.__setitem__("kspace", h5py.ExternalLink("o.h5", "/k")), "external link"),
    ],
)
def test_damaged_kspace(build, change, words):
    built = build()
    with h5py.File(built.path, "r+") as file:
        del file["kspace"]
        change(file)
    with pytest.raises(DataError, match=words) as error:
        load_scan(built.path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("mask", np.ones(36), "one 0 or 1 for each of the 37 columns"),
        ("reconstruction_rss", np.ones((3, 32, 32)), "one image per slice"),
        ("reconstruction_rss", np.ones((2, 32, 32), dtype=np.complex64), "expected real numbers"),
    ],
)
def test_arrays_that_do_not_belong(build, name, values, words):
    built = build(has_target=False)
    with h5py.File(built.path, "r+") as file:
        file[name] = values
    with pytest.raises(DataError, match=words):
        load_scan(built.path)


def test_samples_that_are_no_numbers(build):
    built = build()
    with h5py.File(built.path, "r+") as file:
        file["kspace"][0, 0, 3, 4:6] = np.nan
        file["kspace"][1] = 0
        file["reconstruction_rss"][0, 0, 0] = np.inf
    scan = load_scan(built.path)
    with pytest.raises(DataError, match="2 of 7104 samples of slice 0 are NaN or infinite"):
        scan.kspace(0)
    with pytest.raises(DataError, match="all samples of slice 1 are zero"):
        scan.kspace(1)
    with pytest.raises(DataError, match="'reconstruction_rss' of slice 0 holds NaN or infinite"):
        scan.target(0)


def test_wrong_use(build):
    path = build().path
    with pytest.raises(UsageError, match="names its own arrays and axes"):
        load_scan(path, axes="slice coil x y")
    scan = load_scan(path)
    with pytest.raises(UsageError, match="target 'reconstruction_rs': Did you mean"):
        scan.target(0, "reconstruction_rs")
    with pytest.raises(IndexError, match="the scan holds 2 images"):
        scan.target(2)
    assert torch.equal(scan.target(-1), scan.target(1, "reconstruction_rss"))


def test_crop_begins_where_that_of_the_package_does():
    for n in range(5, 12):
        for m in range(1, n + 1):
            image = torch.arange(float(n * n)).reshape(n, n)
            assert torch.equal(crop_like_target(image, (m, m)), center_crop(image, (m, m)))
    with pytest.raises(DataError, match="crop_like_target"):
        crop_like_target(torch.zeros(3), (2, 2))


def test_narrow_image_stays_where_the_target_is_wider():
    assert crop_like_target(torch.zeros(1, 20, 40), (32, 32)).shape == (1, 20, 32)


@pytest.mark.parametrize("coils", [None, 3])
def test_commands(build, capsys, coils):
    built = build(coils=coils)
    assert main(["info", str(built.path), "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    target = "reconstruction_rss" if coils else "reconstruction_esc"
    assert (described["format"], described["targets"]) == ("fastmri", [target])
    assert main(["info", str(built.path)]) == 0
    assert f"targets:\n  {target}" in capsys.readouterr().out
    out = built.path.with_name("image.npy")
    assert main(["reconstruct", str(built.path), "-o", str(out), "--method", "adjoint"]) == 0
    assert np.load(out).shape[-2:] == (37, 32)
    assert json.loads(out.with_name("image.npy.json").read_text())["assumptions"]


def test_patient_is_not_named(build, capsys):
    built = build(attributes={"patient_id": "0beb8905d9b7fad3", "acquisition": "AXT2"})
    assert main(["info", str(built.path), "--json"]) == 0
    captured = capsys.readouterr()
    assert "0beb8905" not in captured.out + captured.err
