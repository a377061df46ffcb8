"""An object that moves while it is scanned: each shot measures it in another pose.

References
----------
Zaitsev M, Maclaren J, Herbst M. Motion artifacts in MRI: a complex problem with many partial
solutions. J Magn Reson Imaging 2015;42:887-901. https://doi.org/10.1002/jmri.24850
Unser M, Thevenaz P, Yaroslavsky L. Convolution-based interpolation for fast, high-quality rotation
of images. IEEE Trans Image Process 1995;4:1371-1381. https://doi.org/10.1109/83.465102
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

LineOrder = Literal["sequential", "interleaved"]
"""Whether a shot measures neighbouring lines, or every n-th one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Motion:
    """Where the object was during each shot, and which shot measured each line."""

    translation_m: torch.Tensor
    """Translation along (y, x) [m], float64, `(shots, 2)`."""

    rotation_rad: torch.Tensor
    """Rotation in the plane of y and x [rad], from x towards y, float64, `(shots,)`."""

    shot_of_line: torch.Tensor
    """Shot of each line along k1, `(k1,)`; -1 where the line is not measured."""


def draw_motion(
    measured: torch.Tensor,
    *,
    translation_m: float,
    rotation_rad: float,
    shots: int,
    order: LineOrder,
    generator: torch.Generator,
) -> Motion:
    r"""Draw a pose for every shot.

    ``d_s = a (u_1, u_2)``, ``theta_s = b u_3`` with u uniform from -1 to 1. The shot that measures
    the line nearest to the centre of k-space stays in place, so that the image without motion is
    that of its pose. The draws depend on neither a nor b: more motion is the same motion, larger.

    Parameters
    ----------
    measured
        Lines that are measured, bool, `(k1,)`, in the order of their acquisition.
    translation_m
        Largest translation a along either axis [m].
    rotation_rad
        Largest rotation b [rad].
    shots
        Number of shots, among which the measured lines are shared evenly.
    order
        `"sequential"`: lines of a shot are neighbours; `"interleaved"`: they are `shots` apart.
    generator
        Source of the poses.

    Returns
    -------
        The poses.

    Examples
    --------
    >>> motion = draw_motion(
    ...     torch.ones(6, dtype=torch.bool), translation_m=1e-3, rotation_rad=0.0, shots=3,
    ...     order="sequential", generator=torch.Generator().manual_seed(0),
    ... )  # fmt: skip
    >>> motion.shot_of_line.tolist(), motion.translation_m[1].tolist()
    ([0, 0, 1, 1, 2, 2], [0.0, 0.0])
    """
    unit = 2 * torch.rand(shots, 3, generator=generator, dtype=torch.float64) - 1
    lines = measured.flatten().nonzero().flatten()
    rank = torch.arange(len(lines))
    shot = rank * shots // max(len(lines), 1) if order == "sequential" else rank % shots
    shot_of_line = torch.full((measured.numel(),), -1)
    shot_of_line[lines] = shot
    if len(lines):
        central = (lines - measured.numel() // 2).abs().argmin()
        unit[shot[central]] = 0
    return Motion(
        translation_m=translation_m * unit[:, :2],
        rotation_rad=rotation_rad * unit[:, 2],
        shot_of_line=shot_of_line,
    )


def moved(
    image: torch.Tensor,
    *,
    translation_m: tuple[float, float],
    rotation_rad: float,
    voxel_size_m: tuple[float, float],
) -> torch.Tensor:
    r"""Rotate an image about voxel n // 2 and then shift it, by its own Fourier series.

    The rotation is three shears, ``R = X(-tan(theta / 2)) Y(sin theta) X(-tan(theta / 2))``, each a
    shift of every row or column by a phase in its spectrum: nothing is blurred, the energy stays,
    and the opposite rotation undoes it. What leaves the field of view comes in on the other side.

    Parameters
    ----------
    image
        Complex image, `(*other, y, x)`.
    translation_m
        Shift along (y, x) [m].
    rotation_rad
        Angle from x towards y [rad], below a quarter turn.
    voxel_size_m
        Voxel size (y, x) [m].

    Returns
    -------
        The image in its new pose; the same tensor where there is nothing to do.

    Examples
    --------
    >>> x = torch.zeros(4, 4, dtype=torch.complex64)
    >>> x[1, 2] = 1
    >>> y = moved(x, translation_m=(2e-3, 0), rotation_rad=0.0, voxel_size_m=(1e-3, 1e-3))
    >>> [int(i) for i in torch.unravel_index(y.abs().argmax(), (4, 4))]
    [3, 2]

    References
    ----------
    https://doi.org/10.1109/83.465102
    """
    n_y, n_x = image.shape[-2:]
    size_y, size_x = voxel_size_m
    y, x = (torch.arange(n, dtype=torch.float64) - n // 2 for n in (n_y, n_x))
    if rotation_rad != 0:
        by_row = -math.tan(rotation_rad / 2) * y * size_y / size_x
        by_column = math.sin(rotation_rad) * x * size_x / size_y
        image = _shifted(image, by_row[:, None], -1)
        image = _shifted(image, by_column[None, :], -2)
        image = _shifted(image, by_row[:, None], -1)
    for dim, shift, size in ((-2, translation_m[0], size_y), (-1, translation_m[1], size_x)):
        if shift != 0:
            image = _shifted(image, torch.tensor(shift / size, dtype=torch.float64), dim)
    return image


def measure_in_shots(
    image: torch.Tensor,
    motion: Motion,
    measure: Callable[[torch.Tensor], torch.Tensor],
    voxel_size_m: tuple[float, float],
) -> torch.Tensor:
    """Measure the lines of every shot with the object in its pose; what measures does not move.

    Parameters
    ----------
    image
        Object, complex, `(*other, 1, z, y, x)`.
    motion
        Poses and lines.
    measure
        From an object to k-space `(*other, coils, k2, k1, k0)`.
    voxel_size_m
        Voxel size (y, x) of the image [m].

    Returns
    -------
        k-space; lines that no shot measures are those of the object in place.

    Examples
    --------
    >>> motion = Motion(
    ...     translation_m=torch.tensor([[0.0, 0.0], [0.0, 1.0]]), rotation_rad=torch.zeros(2),
    ...     shot_of_line=torch.tensor([0, 0, 1]),
    ... )  # fmt: skip
    >>> x = torch.eye(3, dtype=torch.complex64)[None, None]
    >>> measure_in_shots(x, motion, lambda pose: pose, (1.0, 1.0)).real.round().int()[0, 0].tolist()
    [[1, 0, 0], [0, 1, 0], [1, 0, 0]]
    """
    k = measure(image)
    for shot in range(len(motion.rotation_rad)):
        shift, angle = motion.translation_m[shot].tolist(), float(motion.rotation_rad[shot])
        lines = (motion.shot_of_line == shot).to(k.device)
        if any((*shift, angle)) and bool(lines.any()):
            pose = moved(
                image,
                translation_m=(shift[0], shift[1]),
                rotation_rad=angle,
                voxel_size_m=voxel_size_m,
            )
            k = torch.where(lines[:, None], measure(pose), k)
    return k


def _shifted(image: torch.Tensor, pixels: torch.Tensor, dim: int) -> torch.Tensor:
    """Shift along an axis by as many pixels as stand for each row or column."""
    n = image.shape[dim]
    frequency = torch.fft.fftfreq(n, dtype=torch.float64)
    frequency = frequency[:, None] if dim == -2 else frequency[None, :]
    angle = (-frequency * pixels).frac().mul(2 * torch.pi)
    factor = torch.polar(torch.ones_like(angle), angle).to(image.device, image.dtype)
    shifted: torch.Tensor = torch.fft.ifft(torch.fft.fft(image, dim=dim) * factor, dim=dim)
    return shifted
