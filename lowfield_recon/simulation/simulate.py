"""From an image to the k-space that a scanner would have recorded.

References
----------
Fessler JA. Model-based image reconstruction for MRI. IEEE Signal Process Mag 2010;27:81-89.
https://doi.org/10.1109/MSP.2010.936726
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.operators.fourier import centred_fft, centred_ifft
from lowfield_recon.prepare.cropping import crop_center
from lowfield_recon.problem import Vector
from lowfield_recon.scan.records import Shape
from lowfield_recon.simulation.bias_field import bias_field
from lowfield_recon.simulation.coils import loop_coil_maps
from lowfield_recon.simulation.fields import smooth_field, stream
from lowfield_recon.simulation.interference import interference
from lowfield_recon.simulation.motion import Motion, draw_motion, measure_in_shots
from lowfield_recon.simulation.noise import complex_noise, noise_level, object_mean
from lowfield_recon.simulation.off_resonance import encode
from lowfield_recon.simulation.pattern import sampling_mask
from lowfield_recon.simulation.recipe import Recipe, check_recipe
from lowfield_recon.simulation.spikes import spikes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Simulated:
    """A scan that was simulated, with everything that a real one hides."""

    kspace: torch.Tensor
    """k-space, complex64, `(*other, coils, k2, k1, k0)`, zero where nothing is sampled; of slices,
    k2 counts them."""

    signal: torch.Tensor
    """The same without noise and interference."""

    mask: torch.Tensor
    """Sampled points, bool, `(1, 1, 1 or k2, k1, 1 or k0)`."""

    coil_maps: torch.Tensor
    """Sensitivities, complex64, `(1, coils, z, y, x)`."""

    noise_std: torch.Tensor
    """Standard deviation of the complex noise of one sample, `(1 or *other, 1, 1, 1, 1)`."""

    image: torch.Tensor
    """The object with its phase, shading and gain, where it was when the centre of k-space was
    measured, at the resolution of k-space, complex64, `(*other, 1, z, y, x)`."""

    noise: torch.Tensor | None = None
    """Noise readout `(coils, samples)`, or None."""

    off_resonance_hz: torch.Tensor | None = None
    """Off-resonance [Hz] `(z, y, x)` at the resolution of the image that was given, or None."""


def simulate_kspace(
    image: torch.Tensor,
    recipe: Recipe,
    *,
    voxel_size_m: Vector = (1e-3, 1e-3, 1e-3),
    off_resonance_hz: torch.Tensor | None = None,
    together: bool = True,
    generator: torch.Generator | None = None,
) -> Simulated:
    r"""Simulate the k-space of an image.

    ``y = g (M (C F_t S b T_s x + i) + e)``: the object x with its smooth phase in the pose T_s of
    each shot (see `motion`), the shading b, coil maps S, the Fourier transform F_t with
    off-resonance (see `off_resonance.encode`), the crop C to the wanted matrix (scaled so that
    intensities stay), interference and spikes i, the pattern M, noise e on every sampled point of
    every coil, and the gain g, which `noise_std` of the result includes. Coil maps, phase, shading,
    off-resonance, poses and pattern are the same for all of `*other`; noise, interference and
    spikes are not.

    Parameters
    ----------
    image
        Object, real or complex, `(*other, 1, z, y, x)`.
    recipe
        What is done.
    voxel_size_m
        Voxel size (z, y, x) [m], for the shape of the coils.
    off_resonance_hz
        Map [Hz] `(z, y, x)` instead of the recipe's random one.
    together
        Whether all of `*other` are one scan with one noise level, or get one each.
    generator
        Where given, the seed is drawn from it instead of the recipe, as for training.

    Returns
    -------
        The scan, on the device of the image.

    Raises
    ------
    UsageError
        If the recipe contradicts itself or does not fit the image.
    DataError
        If the image has another shape, is not finite, or is zero where noise is relative to it.

    Examples
    --------
    >>> x = torch.ones(1, 1, 1, 16, 16)
    >>> scan = simulate_kspace(x, Recipe(n_coils=4, snr=20, window=0.5))
    >>> scan.kspace.shape, int(scan.mask.sum())
    (torch.Size([1, 4, 1, 16, 16]), 64)

    References
    ----------
    https://doi.org/10.1109/MSP.2010.936726
    """
    check_recipe(recipe)
    _check_image(image)
    shape = (image.shape[-3], image.shape[-2], image.shape[-1])
    matrix = _matrix(shape, recipe)
    seed = recipe.seed
    if generator is not None:
        seed = int(torch.randint(1 << 62, (1,), generator=generator, device=generator.device))
    x = _with_phase(image.to(torch.complex64), recipe, seed)
    field = _off_resonance(shape, recipe, seed) if off_resonance_hz is None else off_resonance_hz
    maps = _coil_maps(shape, voxel_size_m, recipe).to(x.device)
    mask_seed = recipe.mask_seed if recipe.mask_seed is not None else _mask_seed(recipe, seed)
    mask = sampling_mask(matrix, recipe, mask_seed).to(x.device)
    phase_dims = (-2,) if recipe.encoding == "slices" else (-3, -2)
    shading = _shading(shape, recipe, seed, x)

    def measured(posed: torch.Tensor) -> torch.Tensor:
        k = encode(
            posed * (maps if shading is None else shading * maps),
            phase_dims=phase_dims,
            off_resonance_hz=field,
            dwell_time_s=recipe.dwell_time_s,
        )
        return k if matrix == shape else _cropped(k, matrix)

    lines = mask.any(dim=-1).flatten(0, -2).any(dim=0).expand(matrix[1])
    motion = _motion(lines.cpu(), recipe, seed)
    signal = mask * (
        measured(x) if motion is None else measure_in_shots(x, motion, measured, voxel_size_m[1:])
    )
    x = x if shading is None else shading * x
    coil_maps = maps
    if matrix != shape:
        x = centred_ifft(_cropped(centred_fft(x, (*phase_dims, -1)), matrix), (*phase_dims, -1))
        size = [d * n / m for d, n, m in zip(voxel_size_m, shape, matrix, strict=True)]
        coil_maps = _coil_maps(matrix, (size[0], size[1], size[2]), recipe).to(x.device)
    level = noise_level(x, recipe, together=together).to(x.device)
    noise = _noise_readout(recipe, level, seed)
    return Simulated(
        kspace=recipe.gain * _recorded(signal, mask, x, level, recipe, seed, together),
        signal=recipe.gain * signal,
        mask=mask,
        coil_maps=coil_maps,
        noise_std=recipe.gain * level,
        image=recipe.gain * x,
        noise=None if noise is None else recipe.gain * noise,
        off_resonance_hz=field,
    )


def _check_image(image: torch.Tensor) -> None:
    if image.ndim < 4 or image.shape[-4] != 1 or image.numel() == 0:
        raise DataError(
            f"image: expected (*other, 1, z, y, x), got shape {tuple(image.shape)}; add singleton "
            "axes, and combine channels to one."
        )
    if not bool(torch.isfinite(image).all()):
        raise DataError("image: holds NaN or infinite values; expected finite numbers.")


def _matrix(shape: Shape, recipe: Recipe) -> Shape:
    matrix = recipe.matrix
    if matrix is None:
        return shape
    is_stack = recipe.encoding == "slices"
    if any(m > n for m, n in zip(matrix, shape, strict=True)) or (
        is_stack and matrix[0] != shape[0]
    ):
        raise UsageError(
            f"matrix: expected at most the image's size (z, y, x) = {shape}"
            f"{', and all its slices' if is_stack else ''}, got {matrix}; the image holds no finer "
            "detail."
        )
    return matrix


def _with_phase(image: torch.Tensor, recipe: Recipe, seed: int) -> torch.Tensor:
    if recipe.phase_rad == 0:
        return image
    generator = stream(seed, "phase")
    angle = smooth_field(image.shape[-3:], order=recipe.phase_order, generator=generator)
    angle = (recipe.phase_rad * angle).to(torch.float32)
    return image * torch.polar(torch.ones_like(angle), angle).to(image.device)


def _off_resonance(shape: Shape, recipe: Recipe, seed: int) -> torch.Tensor | None:
    if recipe.off_resonance_hz == 0:
        return None
    generator = stream(seed, "off-resonance")
    field = smooth_field(shape, order=recipe.off_resonance_order, generator=generator)
    return recipe.off_resonance_hz * field


def _shading(shape: Shape, recipe: Recipe, seed: int, like: torch.Tensor) -> torch.Tensor | None:
    if recipe.bias_field == 0:
        return None
    return bias_field(
        shape,
        strength=recipe.bias_field,
        order=recipe.bias_field_order,
        generator=stream(seed, "bias-field"),
    ).to(like.device)


def _motion(lines: torch.Tensor, recipe: Recipe, seed: int) -> Motion | None:
    if recipe.motion_m == 0 and recipe.motion_rad == 0:
        return None
    return draw_motion(
        lines,
        translation_m=recipe.motion_m,
        rotation_rad=recipe.motion_rad,
        shots=recipe.motion_shots,
        order=recipe.motion_order,
        generator=stream(seed, "motion"),
    )


def _coil_maps(shape: Shape, voxel_size_m: Vector, recipe: Recipe) -> torch.Tensor:
    return loop_coil_maps(
        shape,
        voxel_size_m,
        n_coils=recipe.n_coils,
        distance=recipe.coil_distance,
        normalization=recipe.coil_normalization,
    )


def _cropped(kspace: torch.Tensor, matrix: Shape) -> torch.Tensor:
    """Cut k-space to a smaller matrix; of slices, k2 is no frequency and stays."""
    scale = math.sqrt(math.prod(matrix) / math.prod(kspace.shape[-3:]))
    for dim, n in zip((-3, -2, -1), matrix, strict=True):
        kspace = crop_center(kspace, n, dim)
    return scale * kspace


def _mask_seed(recipe: Recipe, seed: int) -> int:
    """Return the seed of the mask: fastMRI's generator takes 32 bits only."""
    bits = 32 if recipe.mask.startswith("fastmri-") else 62
    return seed % (1 << bits)


def _recorded(
    signal: torch.Tensor,
    mask: torch.Tensor,
    image: torch.Tensor,
    level: torch.Tensor,
    recipe: Recipe,
    seed: int,
    together: bool,
) -> torch.Tensor:
    """Add interference, spikes and noise to the sampled points."""
    total = signal
    if recipe.interference_hz:
        mean = object_mean(image, recipe.object_threshold, together=together)
        lines = interference(
            signal.shape,
            frequencies_hz=recipe.interference_hz,
            amplitude=recipe.interference_amplitude * mean.cpu(),
            dwell_time_s=recipe.dwell_time_s,
            generator=stream(seed, "interference"),
        )
        total = total + mask * lines.to(signal.device)
    if recipe.spike_fraction > 0:
        dims = None if together else (-4, -3, -2, -1)
        largest = signal.abs().amax(dim=dims or tuple(range(signal.ndim)), keepdim=True).cpu()
        bursts = spikes(
            signal.shape,
            fraction=recipe.spike_fraction,
            amplitude=recipe.spike_amplitude * largest,
            generator=stream(seed, "spikes"),
        )
        total = total + mask * bursts.to(signal.device)
    if bool((level > 0).any()):
        noise = complex_noise(signal.shape, stream(seed, "noise")).to(signal.device)
        total = total + mask * (level * noise)
    return total


def _noise_readout(recipe: Recipe, level: torch.Tensor, seed: int) -> torch.Tensor | None:
    if recipe.noise_samples == 0:
        return None
    if level.numel() > 1:
        raise UsageError(
            "noise_samples: images with a noise level each have no common noise readout; set "
            "together=True."
        )
    shape = (recipe.n_coils, recipe.noise_samples)
    return float(level) * complex_noise(shape, stream(seed, "noise-readout"))
