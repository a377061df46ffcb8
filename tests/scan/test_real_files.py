"""Real files: the worked example of the Siemens phantom, and every raw array of the data folder."""

from __future__ import annotations

import warnings

import mrpro
import numpy as np
import pytest
import scipy.io
import torch

from lowfield_recon.operators import kspace_operator
from lowfield_recon.scan import Undersampling, load_scan

pytestmark = pytest.mark.shared_data


@pytest.fixture
def snr_r3(shared_data):
    (path,) = (shared_data / "gadgetron_onlineclass_snr_r3").glob("*.h5")
    return path


def flat_maps(n_coils, n_y, n_x):
    """Given instead of estimated maps, where a test is about something else."""
    return torch.ones(n_coils, 1, n_y, n_x, dtype=torch.complex64) / n_coils**0.5


def centred_ifft2(k, axes):
    shifted = np.fft.ifftshift(k, axes=axes)
    return np.fft.fftshift(np.fft.ifftn(shifted, axes=axes, norm="ortho"), axes=axes)


def test_worked_example_of_the_siemens_phantom(snr_r3):
    scan = load_scan(snr_r3)
    assert scan.n_readouts == 36
    assert scan.dropped == {"noise": 1, "calibration only": 32}
    assert scan.volume_shape == (1, 1)
    raw = scan.kspace(0)
    assert raw.data.shape == (1, 14, 1, 144, 384)
    assert raw.mask.flatten().nonzero().flatten().tolist() == list(range(18, 124, 3))
    assert int(raw.calibration_mask.sum()) == 48
    rows = raw.calibration_mask.flatten().nonzero().flatten()
    assert int(rows[-1]) - int(rows[0]) == 47  # one complete block
    assert scan.noise.shape == (14, 384)
    assert scan.noise_scale == pytest.approx(2.4 / 20 * 0.793, rel=1e-6)
    assert not scan.repairs
    assert scan.header.field_strength_t == pytest.approx(2.89362)
    assert scan.header.limits["kspace_encoding_step_1"] == (0, 105, 54)


def test_siemens_problem(snr_r3):
    problem = load_scan(snr_r3).problems(coil_maps=flat_maps(14, 144, 192))[0]
    assert problem.shape == (1, 1, 1, 144, 192)
    assert problem.noise_std == 1.0
    geometry = problem.geometry
    assert geometry.voxel_size_m == pytest.approx((8e-3, 210e-3 / 144, 280e-3 / 192))
    assert geometry.position_m == pytest.approx((0.020048, 0.066570, 0.0), abs=1e-6)
    triad = np.array([geometry.x_direction, geometry.y_direction, geometry.z_direction])
    assert np.linalg.det(triad) == pytest.approx(-1, abs=1e-5)  # left-handed, kept as stored


def test_siemens_noise_has_variance_one_after_whitening(snr_r3):
    """Beside the bottles, at the edges of the image's field of view, there is nothing but noise."""
    problem = load_scan(snr_r3).problems(coil_maps=flat_maps(14, 144, 192))[0]
    lines = problem.data.numpy()[0, :, 0, 18:124:3]
    along_x = centred_ifft2(lines, (-1,))
    variance = np.square(np.abs(along_x)).mean(axis=(0, 1))
    assert variance[:6].mean() == pytest.approx(1.0, rel=0.3)
    assert variance[-6:].mean() == pytest.approx(1.0, rel=0.3)
    assert variance[60:80].mean() > 100


def test_siemens_kspace_is_that_of_mrpro(snr_r3):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kdata = mrpro.data.KData.from_file(
            snr_r3, mrpro.data.traj_calculators.KTrajectoryCartesian()
        )
    raw = load_scan(snr_r3).kspace(0)
    rows = kdata.traj.ky.flatten().round().long() + 72
    order = rows.argsort()
    assert rows[order].tolist() == raw.mask.flatten().nonzero().flatten().tolist()
    theirs = kdata.data.reshape(14, -1, kdata.data.shape[-1])[:, order]
    assert theirs.shape[-1] == 384
    ours = raw.data[0, :, 0, rows[order]]
    assert (ours - theirs).norm() < 1e-5 * theirs.norm()


@pytest.mark.parametrize("figure", ["Figure_6A", "Figure_6B", "Figure_7A"])
@pytest.mark.parametrize("contrast", ["FLAIR", "FSE", "GRE"])
def test_low_field_brains(shared_data, figure, contrast):
    path = shared_data / "ulf_0055T" / figure / "0.055T" / f"0.055T_{contrast}_kspace_postEMI.mat"
    scan = load_scan(path, axes="y x slice", field_strength_t=0.055)
    expected = np.abs(centred_ifft2(scipy.io.loadmat(path)["kspace"], (0, 1)))
    assert scan.volume_shape == (1, 4)
    for i, problem in enumerate(scan.problems()):
        (image,) = problem.operator.H(problem.data)
        found = image[0, 0, 0].abs().numpy()
        np.testing.assert_allclose(found, expected[..., i], atol=1e-5 * expected.max())
        head = found > 0.2 * found.max()
        y, x = (np.argwhere(head).mean(axis=0) - np.array(found.shape) / 2) / found.shape
        assert max(abs(y), abs(x)) < 0.12  # the head is in the middle, not wrapped
        assert 0 < problem.noise_std < 0.1 * found.max()


def test_four_coil_brain_undersampled(shared_data):
    path = shared_data / "gpunufft_demo" / "img_brain_4ch.mat"
    scan = load_scan(path, axes="y x coil", image_space=True)
    choice = Undersampling(acceleration=3, calibration_lines=24, seed=1)
    problem = scan.problems(undersampling=choice)[0]
    assert problem.data.shape == (1, 4, 1, 256, 256)
    sampled = (problem.data.abs().sum(dim=(0, 1, 2, 4)) > 0).float().mean()
    assert float(sampled) == pytest.approx(1 / 3, abs=0.01)
    rss = np.linalg.norm(scipy.io.loadmat(path)["img"], axis=-1)
    reference = problem.reference[0, 0, 0].abs().numpy()
    head = rss > 0.1 * rss.max()
    assert np.abs(reference - rss)[head].mean() < 0.02 * rss[head].mean()


def test_radial_heart(shared_data):
    path = shared_data / "gpunufft_demo" / "radial_cardiac_25_projections.mat"
    scan = load_scan(path, axes="x y coil", key="rawdata", trajectory_key="k")
    raw = scan.kspace(0)
    assert raw.data.shape == (1, 12, 1, 25, 256)
    assert float(raw.trajectory.abs().max()) == pytest.approx(128, abs=1)
    problem = scan.problems(coil_maps=flat_maps(12, 256, 256))[0]
    assert problem.shape == (1, 1, 1, 256, 256)
    A = kspace_operator(trajectory=raw.trajectory, image_shape=(1, 256, 256))
    coil_images = torch.cat([A.H(raw.data[:, c : c + 1])[0] for c in range(12)])
    weight = coil_images.abs().square().sum(dim=0)[0, 0]
    middle = weight[32:224, 32:224].sum() / weight.sum()
    assert middle > 0.85


def test_poisson_disc_brain(shared_data):
    path = shared_data / "sigpy_tutorial_brain8ch" / "cartesian_ksp.npy"
    scan = load_scan(path, axes="coil y x")
    raw = scan.kspace(0)
    assert raw.mask.shape == (1, 1, 1, 230, 180)
    assert float(raw.mask.float().mean()) == pytest.approx(0.1243, abs=1e-4)
    assert scan.problems(coil_maps=flat_maps(8, 230, 180))[0].shape == (1, 1, 1, 230, 180)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("coronal_fatsat_2D_knee.mat", (332, 640)), ("se_t1_sag_data.mat", (256, 256))],
)
def test_single_coil_knee_and_head(shared_data, name, shape):
    scan = load_scan(shared_data / "larsonlab_edu" / name, axes="y x")
    problem = scan.problems()[0]
    (image,) = problem.operator.H(problem.data)
    assert image.shape == (1, 1, 1, *shape)
    assert problem.noise_std < 0.1 * float(image.abs().max())


def test_repetitions_of_the_cage_measurement(shared_data):
    folder = shared_data / "ulf_0055T" / "Supplementary_Figure_3A"
    for path in folder.glob("*.mat"):
        scan = load_scan(path, axes="y x slice repetition")
        assert scan.volume_shape == (2, 4)
        assert scan.images[4].repetition == 1
