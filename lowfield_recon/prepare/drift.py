"""Drift between repetitions of one scan: constant and linear phases, measured and undone.

References
----------
Jain J, Jain A. Displacement measurement and its application in interframe image coding. IEEE Trans
Commun 1981;29:1799-1808. https://doi.org/10.1109/TCOM.1981.1094950
Ahn CB, Cho ZH. A new phase correction method in NMR imaging based on autocorrelation and histogram
analysis. IEEE Trans Med Imaging 1987;6:32-36. https://doi.org/10.1109/TMI.1987.4307795
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from lowfield_recon.errors import DataError
from lowfield_recon.operators.fourier import centred_fft, centred_ifft
from lowfield_recon.prepare.cropping import crop_center

_AXES = (-3, -2, -1)
_CENTRE_WIDTH = 48
_BLOCK_WIDTH = 64
_STEPS = 6
_SIGNIFICANT = 10.0

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What one repetition differs by from another, as seen in their low-resolution images."""

    phase_rad: float
    """Constant phase [rad]."""

    image_shift: Triple
    """Shift of the image along (z, y, x) [pixels], e.g. from a drifting field."""

    kspace_shift: Triple
    """Shift of k-space along (k2, k1, k0) [samples]: a linear phase over the image."""

    coherence: float
    """Correlation of the low-resolution images after both are undone, at most 1."""


def measure_drift(
    reference: torch.Tensor, kspace: torch.Tensor, mask: torch.Tensor | None = None
) -> Drift:
    r"""Measure how one repetition differs from another by constant and linear phases.

    Least squares, ``min ||a - T(p) b||^2``, over the low-resolution images a, b of the central 48
    samples under a Hann taper; T(p) undoes a constant phase and linear phases over k-space (shifts
    of the image) and over the image (shifts of k-space). Gauss-Newton steps begin at p = 0 and at
    the phase slopes ``arg sum_m conj(P[m]) P[m + 1]`` of ``P = conj(F|a|) F|b|`` and ``conj(a) b``;
    the better end counts. Linear phases are measured along complete axes alone, and kept only if
    they bring all samples closer by more than noise would: interference is no motion.

    Parameters
    ----------
    reference
        k-space of the first repetition, complex, `(*other, coils, k2, k1, k0)`.
    kspace
        k-space of another one, the same shape and the same samples acquired.
    mask
        Acquired samples, bool, broadcastable to `kspace`; None where all are.

    Returns
    -------
        Phases and shifts of `kspace` against `reference`.

    Raises
    ------
    DataError
        If the shapes differ.

    Examples
    --------
    >>> kspace = torch.randn(1, 1, 1, 16, 16, dtype=torch.complex64)
    >>> round(measure_drift(kspace, 1j * kspace).phase_rad, 3)
    1.571

    References
    ----------
    Displacement from a phase slope: https://doi.org/10.1109/TCOM.1981.1094950. The slope from the
    autocorrelation at lag one: https://doi.org/10.1109/TMI.1987.4307795
    """
    if reference.shape != kspace.shape:
        raise DataError(
            f"averaging: a repetition has k-space {tuple(kspace.shape)}, the first has "
            f"{tuple(reference.shape)}; expected the same matrix and coils."
        )
    pair, axes = _Pair.of(reference, kspace), _complete_axes(mask, kspace.shape)
    starts = [_Motion(), pair.slopes(axes)] if axes else [_Motion()]
    drifts = [
        _as_drift(max((pair.refined(start, chosen) for start in begin), key=pair.coherence), pair)
        for chosen, begin in (([], [_Motion()]), (axes, starts))
    ]
    still, moving = (_residual(reference, kspace, drift) for drift in drifts)
    chance = _SIGNIFICANT * 2 * len(axes) * still / (2 * max(int((kspace != 0).sum()), 1))
    return drifts[1] if still - moving > chance else drifts[0]


def _as_drift(motion: _Motion, pair: _Pair) -> Drift:
    return Drift(
        phase_rad=math.atan2(math.sin(motion.phase), math.cos(motion.phase)),
        image_shift=_triple(t * n for t, n in zip(motion.turns, pair.size, strict=True)),
        kspace_shift=motion.samples,
        coherence=pair.coherence(motion),
    )


def _residual(reference: torch.Tensor, kspace: torch.Tensor, drift: Drift) -> float:
    return float((reference - without_drift(kspace, drift)).abs().square().sum(dtype=torch.double))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Motion:
    phase: float = 0.0
    turns: Triple = (0.0, 0.0, 0.0)
    """Shift of the image over the field of view along (z, y, x)."""
    samples: Triple = (0.0, 0.0, 0.0)
    """Shift of k-space along (k2, k1, k0)."""

    def plus(self, step: Sequence[float], axes: Sequence[int]) -> _Motion:
        turns, samples = list(self.turns), list(self.samples)
        for i, d in enumerate(axes):
            turns[d] += step[1 + i]
            samples[d] += step[1 + len(axes) + i]
        return _Motion(phase=self.phase + step[0], turns=_triple(turns), samples=_triple(samples))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Pair:
    """Central blocks of two repetitions."""

    a: torch.Tensor
    """Low-resolution image of the first."""
    b: torch.Tensor
    """Central k-space of the other, without taper."""
    taper: torch.Tensor
    size: Sequence[int]
    """Size of the whole grid (k2, k1, k0)."""

    @classmethod
    def of(cls, reference: torch.Tensor, kspace: torch.Tensor) -> _Pair:
        blocks = [reference, kspace]
        for d in _AXES:
            n = min(_BLOCK_WIDTH, kspace.shape[d])
            blocks = [crop_center(block, n, d) for block in blocks]
        taper = _taper(blocks[0].shape).to(kspace)
        a = centred_ifft(blocks[0] * taper, _AXES)
        return cls(a=a, b=blocks[1], taper=taper, size=kspace.shape[-3:])

    def undone(self, motion: _Motion) -> torch.Tensor:
        """Return the low-resolution image of the other without the motion."""
        image = centred_ifft(self.b * _waves([-t for t in motion.turns], self.b), _AXES)
        image = image * _ramp(motion.samples, image)
        factor = complex(math.cos(motion.phase), -math.sin(motion.phase))
        return factor * centred_ifft(centred_fft(image, _AXES) * self.taper, _AXES)

    def coherence(self, motion: _Motion) -> float:
        """Return the correlation of the two in phase, -1 to 1."""
        b = self.undone(motion)
        energy = float(self.a.abs().square().sum() * b.abs().square().sum()) ** 0.5
        return float((self.a.conj() * b).sum().real) / energy if energy > 0 else 0.0

    def slopes(self, axes: Sequence[int]) -> _Motion:
        """Estimate the motion from phase slopes."""
        b = centred_ifft(self.b * self.taper, _AXES)
        spectra = [centred_fft(x.abs().to(x.dtype), _AXES) * self.taper for x in (self.a, b)]
        along_k = _slopes(spectra[0].conj() * spectra[1], axes)
        motion = _Motion(turns=_triple(-along_k[d] / (2 * math.pi) for d in _AXES))
        along_x = _slopes(self.a.conj() * self.undone(motion), axes)
        samples = _triple(along_x[d] * b.shape[d] / (2 * math.pi) for d in _AXES)
        motion = _Motion(turns=motion.turns, samples=samples)
        phase = float((self.a.conj() * self.undone(motion)).sum().angle())
        return _Motion(phase=phase, turns=motion.turns, samples=samples)

    def refined(self, motion: _Motion, axes: Sequence[int]) -> _Motion:
        """Improve an estimate by Gauss-Newton steps, the phase first."""
        phase = float((self.a.conj() * self.undone(motion)).sum().angle())
        motion = motion.plus([phase, *([0.0] * 2 * len(axes))], axes)
        for _ in range(_STEPS):
            b = self.undone(motion)
            spectrum = centred_fft(b, _AXES)
            columns = [-1j * b]
            columns += [centred_ifft(2j * math.pi * _offsets(d, b) * spectrum, _AXES) for d in axes]
            columns += [-2j * math.pi / b.shape[d] * _offsets(d, b) * b for d in axes]
            J = torch.view_as_real(torch.stack(columns)).double().flatten(1)
            residual = torch.view_as_real(self.a - b).double().flatten()
            step = torch.linalg.lstsq(J @ J.mT, (J @ residual)[:, None]).solution.flatten()
            motion = motion.plus(step.tolist(), axes)
        return motion


def without_drift(kspace: torch.Tensor, drift: Drift) -> torch.Tensor:
    """Undo what `measure_drift` found.

    Phases have magnitude 1, so white noise stays white with the same standard deviation.

    Parameters
    ----------
    kspace
        k-space of the repetition, complex, `(*other, coils, k2, k1, k0)`.
    drift
        What was measured.

    Returns
    -------
        k-space aligned with the reference.

    Examples
    --------
    >>> still = (0.0, 0.0, 0.0)
    >>> drift = Drift(phase_rad=torch.pi, image_shift=still, kspace_shift=still, coherence=1.0)
    >>> without_drift(torch.ones(1, 1, 1, 1, 1, dtype=torch.complex64), drift).real.round().item()
    -1.0
    """
    aligned = _shifted(kspace, drift.image_shift)
    axes = [d for d in _AXES if drift.kspace_shift[d] != 0]
    if axes:
        images = centred_ifft(aligned, axes)
        aligned = centred_fft(images * _ramp(drift.kspace_shift, images), axes)
    c, s = math.cos(drift.phase_rad), math.sin(drift.phase_rad)
    return aligned * complex(c, -s)


def _complete_axes(mask: torch.Tensor | None, shape: torch.Size) -> list[int]:
    """Return the axes along which every acquired line is complete."""
    axes = [d for d in _AXES if shape[d] > 2]
    if mask is None:
        return axes
    return [
        d for d in axes if mask.shape[d] == 1 or bool((mask.any(dim=d) == mask.all(dim=d)).all())
    ]


def _taper(shape: torch.Size) -> torch.Tensor:
    """Return a Hann taper over the central samples, `(k2, k1, k0)`."""
    taper = torch.ones(())
    for d in _AXES:
        n = shape[d]
        if n > 1:
            distance = (torch.arange(n) - n // 2).abs() / (0.5 * min(n, _CENTRE_WIDTH))
            along = torch.cos(0.5 * math.pi * distance.clamp(max=1)).square()
            taper = taper * along.reshape(-1, *([1] * (-d - 1)))
    return taper


def _slopes(product: torch.Tensor, axes: Sequence[int]) -> dict[int, float]:
    """Return the mean phase step along each axis [rad], 0 along axes that are left out."""
    slopes = dict.fromkeys(_AXES, 0.0)
    for d in axes:
        n = product.shape[d]
        lagged = product.narrow(d, 0, n - 1).conj() * product.narrow(d, 1, n - 1)
        slopes[d] = float(lagged.sum().angle())
    return slopes


def _triple(values: Iterable[float]) -> Triple:
    z, y, x = values
    return z, y, x


def _offsets(d: int, like: torch.Tensor) -> torch.Tensor:
    """Return the offsets from the centre of one axis, broadcastable to a tensor."""
    n = like.shape[d]
    offsets = torch.arange(n, dtype=like.real.dtype, device=like.device) - n // 2
    return offsets.reshape(-1, *([1] * (-d - 1)))


def _shifted(kspace: torch.Tensor, shift: Triple) -> torch.Tensor:
    """Move the image back by `shift` pixels."""
    turns = [-shift[d] / kspace.shape[d] for d in _AXES]
    return kspace * _waves(turns, kspace) if any(turns) else kspace


def _ramp(shift: Sequence[float], like: torch.Tensor) -> torch.Tensor:
    """Return ``exp(-2 pi i m s / n)`` over the offsets m of all three axes."""
    return _waves([shift[d] / like.shape[d] for d in _AXES], like)


def _waves(turns: Sequence[float], like: torch.Tensor) -> torch.Tensor:
    """Return ``exp(-2 pi i m t)`` over the offsets m of all three axes."""
    waves = torch.ones((), dtype=like.dtype, device=like.device)
    for d in _AXES:
        if turns[d] != 0:
            angle = -2 * math.pi * turns[d] * _offsets(d, like).double()
            waves = waves * torch.polar(torch.ones_like(angle), angle).to(like)
    return waves
