"""Motion: poses, exact rigid movement, and k-space of which every line saw one pose."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lowfield_recon.operators.fourier import centred_fft
from lowfield_recon.simulation import Recipe, simulate_kspace
from lowfield_recon.simulation.fields import stream
from lowfield_recon.simulation.motion import Motion, draw_motion, measure_in_shots, moved


def blob(n_y: int, n_x: int, centre: tuple[float, float], size=(1.0, 1.0)) -> np.ndarray:
    """Two Gaussians about a point (y, x) in units of `size`, relative to voxel n // 2."""
    y = (np.arange(n_y) - n_y // 2)[:, None] * size[0] - centre[0]
    x = (np.arange(n_x) - n_x // 2)[None, :] * size[1] - centre[1]
    return np.exp(-(y**2 + x**2) / 18)


@pytest.mark.parametrize("shape", [(48, 56), (49, 55)])
@pytest.mark.parametrize("size", [(1.0, 1.0), (1.25, 0.8)])
def test_a_blob_turns_about_the_central_voxel_and_shifts(shape, size) -> None:
    angle, shift = 0.4, (2.3, -1.7)
    image = torch.from_numpy(blob(*shape, (3.0, 7.0), size)).to(torch.complex64)
    found = moved(
        image,
        translation_m=(1e-3 * shift[0], 1e-3 * shift[1]),
        rotation_rad=angle,
        voxel_size_m=(1e-3 * size[0], 1e-3 * size[1]),
    )
    y = 3.0 * math.cos(angle) + 7.0 * math.sin(angle) + shift[0]
    x = -3.0 * math.sin(angle) + 7.0 * math.cos(angle) + shift[1]
    np.testing.assert_allclose(found.numpy(), blob(*shape, (y, x), size), atol=2e-5)


def test_movement_keeps_the_energy_and_can_be_undone() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(3, 20, 17, dtype=torch.complex64, generator=generator)
    there = moved(image, translation_m=(0, 0), rotation_rad=0.3, voxel_size_m=(1, 1.5))
    back = moved(there, translation_m=(0, 0), rotation_rad=-0.3, voxel_size_m=(1, 1.5))
    torch.testing.assert_close(there.abs().square().sum(), image.abs().square().sum())
    torch.testing.assert_close(back, image, atol=2e-5, rtol=0)
    assert not torch.allclose(there, image, atol=0.1)


def test_no_movement_is_the_same_tensor() -> None:
    image = torch.ones(4, 4, dtype=torch.complex64)
    assert moved(image, translation_m=(0, 0), rotation_rad=0.0, voxel_size_m=(1, 1)) is image


@pytest.mark.parametrize(
    ("order", "expected"),
    [("sequential", [-1, 0, 0, -1, 1, 1, 2, 2]), ("interleaved", [-1, 0, 1, -1, 2, 0, 1, 2])],
)
def test_the_measured_lines_are_shared_and_the_central_shot_stays(order, expected) -> None:
    measured = torch.tensor([0, 1, 1, 0, 1, 1, 1, 1], dtype=torch.bool)
    motion = draw_motion(
        measured, translation_m=2.0, rotation_rad=0.1, shots=3, order=order,
        generator=torch.Generator().manual_seed(1),
    )  # fmt: skip
    assert motion.shot_of_line.tolist() == expected
    central = expected[4]
    still = (motion.translation_m == 0).all(1) & (motion.rotation_rad == 0)
    assert still.nonzero().flatten().tolist() == [central]
    assert float(motion.translation_m.abs().max()) <= 2
    assert float(motion.rotation_rad.abs().max()) <= 0.1


def test_more_motion_is_the_same_motion_larger() -> None:
    lines = torch.ones(32, dtype=torch.bool)
    small, large = (
        draw_motion(
            lines, translation_m=a, rotation_rad=b, shots=5, order="sequential",
            generator=stream(3, "motion"),
        )
        for a, b in ((1.0, 0.1), (4.0, 0.2))
    )  # fmt: skip
    torch.testing.assert_close(large.translation_m, 4 * small.translation_m)
    torch.testing.assert_close(large.rotation_rad, 2 * small.rotation_rad)


def test_a_shift_between_shots_is_a_phase_of_their_lines() -> None:
    """The k-space of a shifted object is known in closed form: a linear phase."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 1, 1, 12, 15, dtype=torch.complex64, generator=generator)
    motion = Motion(
        translation_m=torch.tensor([[0, 0], [1.5, -0.7]], dtype=torch.float64),
        rotation_rad=torch.zeros(2, dtype=torch.float64),
        shot_of_line=torch.tensor([0] * 7 + [1] * 4 + [-1]),
    )
    found = measure_in_shots(x, motion, lambda pose: centred_fft(pose, (-2, -1)), (1.0, 1.0))
    k = centred_fft(x, (-2, -1)).numpy()
    u = (np.arange(12) - 6)[:, None] / 12 * 1.5 + (np.arange(15) - 7)[None, :] / 15 * -0.7
    expected = k * np.exp(-2j * np.pi * u)
    expected[..., :7, :] = k[..., :7, :]
    expected[..., 11, :] = k[..., 11, :]
    np.testing.assert_allclose(found.numpy(), expected, atol=3e-6)


@pytest.mark.parametrize("order", ["sequential", "interleaved"])
def test_a_simulated_scan_is_of_lines_of_moved_objects_with_coils_in_place(order) -> None:
    x = torch.rand(1, 1, 1, 24, 20, generator=torch.Generator().manual_seed(0))
    recipe = Recipe(
        n_coils=3, motion_m=3e-3, motion_rad=0.2, motion_shots=3, motion_order=order, window=0.75,
        seed=5, gain=2.0, bias_field=0.5,
    )  # fmt: skip
    size = (1e-3, 2e-3, 1e-3)
    scan = simulate_kspace(x, recipe, voxel_size_m=size)
    still = simulate_kspace(
        x, recipe.model_copy(update={"motion_m": 0, "motion_rad": 0}), voxel_size_m=size
    )
    assert torch.equal(scan.image, still.image)
    lines = torch.zeros(24, dtype=torch.bool)
    lines[3:21] = True
    motion = draw_motion(
        lines, translation_m=3e-3, rotation_rad=0.2, shots=3, order=order,
        generator=stream(5, "motion"),
    )  # fmt: skip
    shading = scan.image / (2 * x)
    for line in range(24):
        shot = int(motion.shot_of_line[line])
        assert (shot == -1) == (line < 3 or line >= 21)
        if shot == -1:
            assert not scan.kspace[..., line, :].any()
            continue
        pose = moved(
            x.to(torch.complex64),
            translation_m=tuple(motion.translation_m[shot].tolist()),
            rotation_rad=float(motion.rotation_rad[shot]),
            voxel_size_m=size[1:],
        )
        expected = 2 * centred_fft(pose * shading * scan.coil_maps, (-2, -1)) * scan.mask
        torch.testing.assert_close(
            scan.kspace[..., line, :], expected[..., line, :], atol=1e-5, rtol=0
        )
    assert not torch.allclose(scan.kspace, still.kspace, atol=0.1)
