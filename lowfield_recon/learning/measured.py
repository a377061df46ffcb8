"""What a learned reconstruction may look at: measured data, never the truth, in one scale."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from lowfield_recon.learning.example_records import Batch

_QUANTILE = 0.995
_LEAST_NOISE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CoilData:
    """K-space of several coils as it was recorded, for networks that estimate sensitivities."""

    kspace: torch.Tensor
    """Complex `(planes, coils, y, x)`, the zero frequency in the middle, zero where not sampled."""

    mask: torch.Tensor
    """Sampled positions, bool `(planes, y, x)`, the zero frequency in the middle."""

    maps: torch.Tensor
    """Sensitivities that the image is defined by, complex `(planes, coils, y, x)`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """Planes of images as the data give them, for ``||A|| <= 1``."""

    adjoint: torch.Tensor
    """``x_0 = A^H y``, complex `(planes, y, x)`."""

    gram: Callable[[torch.Tensor], torch.Tensor]
    """``A^H A`` of images `(planes, y, x)`, linear and self-adjoint."""

    pixel_noise: torch.Tensor
    """Standard deviation of the complex noise of a pixel of ``A^H y``, real `(planes,)`, > 0."""

    eigenvalues: torch.Tensor | None = None
    """Eigenvalues of ``A^H A``, real `(planes, y, x)` in FFT order, None where it is not diagonal
    in Fourier space."""

    are_separate: bool = True
    """Whether ``A^H A`` leaves the planes apart."""

    coils: CoilData | None = None
    """The k-space itself, where there are several coils of a Cartesian scan."""

    @classmethod
    def of_batch(cls, batch: Batch) -> Measured:
        """Return what there is to see of simulated scans.

        Parameters
        ----------
        batch
            Examples; their targets are left out.

        Returns
        -------
            The same planes, the operator divided by the bound of its norm.

        Examples
        --------
        >>> from lowfield_recon.learning.example_records import simulate_example, stack_examples
        >>> from lowfield_recon.simulation import Recipe
        >>> batch = stack_examples([simulate_example(torch.ones(16, 16), Recipe(window=0.5))])
        >>> Measured.of_batch(batch).adjoint.shape
        torch.Size([1, 16, 16])
        """
        unit = batch.norm_squared
        eigenvalues, normal = batch.eigenvalues / unit, batch.normal
        coils = None
        if normal is not None and batch.coil_kspace is not None:
            coils = CoilData(
                kspace=batch.coil_kspace,
                mask=torch.fft.fftshift(normal.sampled, dim=(-2, -1)) > 0,
                maps=normal.maps,
            )

        def gram(image: torch.Tensor) -> torch.Tensor:
            spectrum = torch.fft.fft2(image)
            seen = eigenvalues * spectrum if normal is None else normal(spectrum) / unit
            result: torch.Tensor = torch.fft.ifft2(seen)
            return result

        noise = batch.noise_std / math.sqrt(unit)
        return cls(
            adjoint=batch.adjoint / unit,
            gram=gram,
            pixel_noise=_pixel_noise(noise, eigenvalues),
            eigenvalues=eigenvalues if normal is None else None,
            coils=coils,
        )

    def scale(self) -> torch.Tensor:
        """Return a robust maximum of ``|x_0|``: its 99.5 % quantile in each plane.

        Returns
        -------
            Real `(planes,)`, > 0.

        Examples
        --------
        >>> measured = Measured(
        ...     adjoint=torch.full((1, 4, 4), 3 + 4j), gram=lambda x: x, pixel_noise=torch.ones(1)
        ... )
        >>> measured.scale()
        tensor([5.])
        """
        modulus = self.adjoint.abs().flatten(1)
        rank = min(modulus.shape[1], int(_QUANTILE * modulus.shape[1]) + 1)
        value = modulus.kthvalue(rank, dim=1).values
        value = torch.where(value > 0, value, modulus.amax(dim=1))
        value = torch.where(value > 0, value, torch.ones_like(value))
        return value if self.are_separate else value.amax().expand_as(value)

    def divided_by(self, scale: torch.Tensor) -> Measured:
        """Return the same for data divided by a number.

        Parameters
        ----------
        scale
            What each plane is divided by, real `(planes,)`, > 0.

        Returns
        -------
            The scaled data; noise below a millionth of the scale counts as that much.
        """
        coils = self.coils
        if coils is not None:
            coils = replace(coils, kspace=coils.kspace / scale[:, None, None, None])
        return replace(
            self,
            adjoint=self.adjoint / scale[:, None, None],
            pixel_noise=(self.pixel_noise / scale).clamp(min=_LEAST_NOISE),
            coils=coils,
        )


def channels(image: torch.Tensor) -> torch.Tensor:
    """Return real and imaginary part as channels.

    Parameters
    ----------
    image
        Complex `(planes, y, x)`.

    Returns
    -------
        Real `(planes, 2, y, x)`.

    Examples
    --------
    >>> channels(torch.full((1, 1, 1), 2 + 3j)).flatten()
    tensor([2., 3.])
    """
    return torch.stack([image.real, image.imag], dim=1)


def from_channels(parts: torch.Tensor) -> torch.Tensor:
    """Return the complex image of its two channels.

    Parameters
    ----------
    parts
        Real `(planes, 2, y, x)`.

    Returns
    -------
        Complex `(planes, y, x)`.

    Examples
    --------
    >>> from_channels(torch.ones(1, 2, 1, 1)).flatten()
    tensor([1.+1.j])
    """
    return torch.complex(parts[:, 0], parts[:, 1])


def _pixel_noise(noise_std: torch.Tensor, eigenvalues: torch.Tensor) -> torch.Tensor:
    return noise_std * eigenvalues.mean(dim=(-2, -1)).sqrt()
