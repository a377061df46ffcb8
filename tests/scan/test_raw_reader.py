"""Scans from raw arrays: order of images, what counts as acquired, coil images, trajectories."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.io
import torch

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.operators import kspace_operator
from lowfield_recon.scan import load_scan

RNG = np.random.default_rng(0)


def noise(*shape):
    return (RNG.normal(size=shape) + 1j * RNG.normal(size=shape)).astype(np.complex64)


@pytest.fixture
def save(tmp_path):
    def write(array, name="kspace.npy"):
        np.save(tmp_path / name, array)
        return tmp_path / name

    return write


def image_of(problem):
    (image,) = problem.operator.H(problem.data)
    return image[0, 0].numpy()


def centred_ifft2(k):
    return np.fft.fftshift(
        np.fft.ifftn(np.fft.ifftshift(k, axes=(-2, -1)), axes=(-2, -1), norm="ortho"), axes=(-2, -1)
    )


def test_adjoint_is_the_centred_inverse_fft_of_each_slice(save):
    array = noise(15, 12, 3)
    scan = load_scan(save(array), axes="y x slice")
    assert scan.volume_shape == (1, 3)
    assert scan.describe()["sampling_fraction"] == 1.0
    for i, problem in enumerate(scan.problems()):
        assert problem.shape == (1, 1, 1, 15, 12)
        np.testing.assert_allclose(image_of(problem)[0], centred_ifft2(array[..., i]), atol=1e-5)


def test_order_of_images(save):
    array = noise(2, 3, 4, 8, 8)  # slice repetition contrast y x
    scan = load_scan(save(array), axes="slice repetition contrast y x")
    assert scan.volume_shape == (12, 2)
    for i, index in enumerate(scan.images):
        expected = array[index.slice, index.repetition, index.contrast]
        assert torch.equal(scan.kspace(i).data[0, 0, 0], torch.from_numpy(expected))
    assert [(i.contrast, i.repetition, i.slice) for i in scan.images[:4]] == [
        (0, 0, 0),
        (0, 0, 1),
        (0, 1, 0),
        (0, 1, 1),
    ]


def test_npy_is_not_loaded_as_a_whole(save):
    scan = load_scan(save(noise(8, 8, 3)), axes="y x slice")
    assert isinstance(scan.source.array.base, np.memmap)


def test_zero_lines_were_not_acquired(save):
    array = noise(2, 10, 40)
    array[:, [1, 4, 7]] = 0
    array[:, 2, 3] = 0  # one sample that happens to be zero
    scan = load_scan(save(array), axes="coil y x")
    mask = scan.kspace(0).mask
    assert mask.shape == (1, 1, 1, 10, 1)
    assert (~mask).flatten().nonzero().flatten().tolist() == [1, 4, 7]
    assert scan.describe()["sampling_fraction"] == pytest.approx(0.7)


def test_zero_points_were_not_acquired(save):
    acquired = RNG.random((16, 12)) < 0.4
    scan = load_scan(save(noise(2, 16, 12) * acquired), axes="coil y x")
    assert np.array_equal(scan.kspace(0).mask[0, 0, 0].numpy(), acquired)


def test_a_zero_in_one_coil_only_was_acquired(save):
    array = noise(2, 6, 6)
    array[0, 3] = 0
    assert load_scan(save(array), axes="coil y x").kspace(0).mask.all()


def test_coil_images_become_kspace(save):
    array = noise(12, 10, 2)
    scan = load_scan(save(array), axes="y x coil", image_space=True)
    raw = scan.kspace(0)
    np.testing.assert_allclose(centred_ifft2(raw.data[0, 1, 0].numpy()), array[..., 1], atol=1e-5)
    assert raw.mask.all()


def test_volume_of_coil_images(save):
    array = noise(4, 6, 8)
    problem = load_scan(save(array), axes="z y x", image_space=True).problems()[0]
    np.testing.assert_allclose(image_of(problem), array, atol=1e-5)


def test_geometry_only_where_a_field_of_view_is_given(save):
    path = save(noise(20, 10))
    assert load_scan(path, axes="y x").kspace(0).geometry is None
    scan = load_scan(path, axes="y x", fov_m=(0.005, 0.2, 0.1), field_strength_t=0.055)
    geometry = scan.kspace(0).geometry
    assert geometry.voxel_size_m == pytest.approx((0.005, 0.01, 0.01))
    assert not geometry.is_known
    assert scan.header.larmor_frequency_hz == pytest.approx(2.342e6, rel=1e-3)
    flat = load_scan(path, axes="y x", fov_m=(None, 0.2, 0.1))
    assert flat.kspace(0).geometry.voxel_size_m == pytest.approx((0.01, 0.01, 0.01))


def spokes(n, n_spokes):
    angles = np.pi * np.arange(n_spokes) / n_spokes
    radius = (np.arange(n) - n // 2) / n
    return radius[:, None] * np.exp(1j * angles)  # (x, y)


@pytest.mark.parametrize(
    "store",
    [
        lambda k, _: k,
        lambda k, _: np.stack([k.real, k.imag], -1),
        lambda k, n: np.stack([k.real, k.imag]) * n,
        lambda k, n: np.stack([k.real, k.imag, 0 * k.real])[:, None] * n + 0j,
    ],
    ids=["complex", "trailing axis", "leading axis, cycles", "as BART"],
)
def test_trajectory_in_any_layout(tmp_path, store):
    n = 16
    k = spokes(n, 10)
    stored = store(k, n)
    scipy.io.savemat(tmp_path / "radial.mat", {"data": noise(n, 10, 2), "k": stored})
    is_3d = 3 in stored.shape
    scan = load_scan(
        tmp_path / "radial.mat",
        axes="x y coil",
        key="data",
        trajectory_key="k",
        matrix=(1, n, n) if is_3d else None,
    )
    assert scan.header.encoded_matrix == (1, n, n)
    raw = scan.kspace(0)
    assert raw.data.shape == (1, 2, 1, 10, n)
    expected = np.stack([0 * k.real, k.imag * n, k.real * n], -1).transpose(1, 0, 2)
    np.testing.assert_allclose(raw.trajectory[0, 0], expected, atol=1e-5)


def test_trajectory_in_another_file(save):
    k = save(spokes(16, 10), "k.npy")
    scan = load_scan(save(noise(16, 10)), axes="x y", trajectory_key="k.npy")
    assert scan.kspace(0).trajectory.shape == (1, 1, 10, 16, 3)
    assert k.exists()


def test_maps_of_radial_data(tmp_path, monkeypatch):
    """A smooth object seen by two coils: the estimated maps are the true ones where it is."""
    n, n_spokes = 32, 50
    y, x = np.mgrid[-1 : 1 : n * 1j, -1 : 1 : n * 1j]
    image = np.exp(-8 * (x**2 + y**2)).astype(np.complex64)
    maps = np.stack([np.exp(-0.4 * ((x - a) ** 2 + y**2) + 1j * a * x) for a in (-1, 1)])
    maps = (maps / np.linalg.norm(maps, axis=0)).astype(np.complex64)
    k = spokes(n, n_spokes)
    positions = np.stack([0 * k.real, k.imag * n, k.real * n], -1).transpose(1, 0, 2)
    A = kspace_operator(
        trajectory=torch.from_numpy(positions.astype(np.float32))[None, None],
        coil_maps=torch.from_numpy(maps)[None, :, None],
        image_shape=(1, n, n),
    )
    (data,) = A(torch.from_numpy(image)[None, None, None])
    np.save(tmp_path / "data.npy", data[0, :, 0].numpy())
    np.save(tmp_path / "k.npy", k.T)
    used = []

    def spy(**options):
        used.append(options.get("coil_maps"))
        return kspace_operator(**options)

    monkeypatch.setattr("lowfield_recon.scan.problems.kspace_operator", spy)
    scan = load_scan(tmp_path / "data.npy", axes="coil y x", trajectory_key="k.npy")
    assert scan.problems()[0].shape == (1, 1, 1, n, n)
    found = used[-1][0, :, 0].numpy()
    has_signal = np.abs(image) > 0.2
    agreement = np.abs((found.conj() * maps).sum(axis=0))  # 1 where equal up to a phase
    assert agreement[has_signal].min() > 0.98


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, r"shape 4 x 8 x 8 whose axes are not known.*--axes \"coil y x\""),
        ({"axes": "y x"}, "2 names"),
        ({"axes": "coil y x", "trajectory_key": "none.npy"}, "without a name"),
        ({"axes": "coil y x", "fov_m": (0.1, -1.0, 0.1)}, "three lengths in metres"),
        ({"axes": "coil y x", "field_strength_t": -1.0}, "expected a field in tesla"),
        ({"axes": "coil y x", "key": "a"}, "leave out the key"),
    ],
)
def test_wrong_use(save, options, words):
    with pytest.raises(UsageError, match=words):
        load_scan(save(noise(4, 8, 8)), **options)


def test_positions_that_fit_nothing(save):
    save(spokes(16, 9), "k.npy")
    with pytest.raises(UsageError, match=r"positions of shape \(16, 9\) do not fit .*\(16, 10\)"):
        load_scan(save(noise(16, 10)), axes="x y", trajectory_key="k.npy")


def test_positions_beyond_the_matrix(save):
    save(spokes(16, 10) * 100, "k.npy")
    with pytest.raises(DataError, match=r"positions reach 50; expected at most 0\.5, or half"):
        load_scan(save(noise(16, 10)), axes="x y", trajectory_key="k.npy")


@pytest.mark.parametrize("value", [np.nan, np.inf, complex(0, np.nan)])
def test_values_that_are_no_numbers_are_counted(save, value):
    array = noise(8, 8)
    array[1, 2] = array[3, 3] = value
    scan = load_scan(save(array), axes="y x")
    with pytest.raises(DataError, match="2 of 64 samples of image 0 are NaN or infinite"):
        scan.kspace(0)


def test_kspace_of_zeros(save):
    scan = load_scan(save(np.zeros((8, 8), dtype=np.complex64)), axes="y x")
    with pytest.raises(DataError, match="all samples of image 0 are zero"):
        scan.problems()[0]


def test_zero_coils(save):
    with pytest.raises(DataError, match="its coil axis is empty"):
        load_scan(save(np.zeros((0, 8, 8), dtype=np.complex64)), axes="coil y x")


def test_bart_knows_its_own_axes(tmp_path):
    array = noise(8, 6, 1, 3)
    (tmp_path / "k.hdr").write_text("# Dimensions\n8 6 1 3 1 1\n# Command\nphantom\n")
    (tmp_path / "k.cfl").write_bytes(array.tobytes(order="F"))
    scan = load_scan(tmp_path / "k.cfl")
    raw = scan.kspace(0)
    assert raw.data.shape == (1, 3, 1, 6, 8)
    assert raw.data[0, 2, 0, 5, 7] == complex(array[7, 5, 0, 2])
    assert any("BART's own order" in note for note in scan.assumptions)
