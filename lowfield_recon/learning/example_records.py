"""One simulated scan to learn from, and several as a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from lowfield_recon.operators import kspace_operator
from lowfield_recon.operators.circulant import circulant_gram
from lowfield_recon.operators.fourier import centred_ifft
from lowfield_recon.simulation import Recipe, simulate_kspace


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CoilNormal:
    """``A^H A`` of several coils as a function from spectrum to spectrum, differentiable.

    Examples
    --------
    >>> maps, sampled = torch.ones(1, 1, 4, 4) + 0j, torch.ones(1, 4, 4)
    >>> spectrum = torch.fft.fft2(torch.randn(1, 4, 4) + 0j)
    >>> bool(torch.allclose(CoilNormal(maps=maps, sampled=sampled)(spectrum), spectrum, atol=1e-5))
    True
    """

    maps: torch.Tensor
    """Sensitivities `(planes, coils, y, x)`, complex64."""

    sampled: torch.Tensor
    """Sampled frequencies `(planes, y, x)` in FFT order, 0 or 1."""

    def __call__(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Return ``F sum_c conj(S_c) F^-1 m F S_c F^-1 X``.

        Parameters
        ----------
        spectrum
            Unnormalised DFT X of images `(planes, y, x)` in FFT order.

        Returns
        -------
            That of ``A^H A x``, of the same shape.
        """
        coil_images = self.maps * torch.fft.ifft2(spectrum)[:, None]
        sampled = torch.fft.ifft2(self.sampled[:, None] * torch.fft.fft2(coil_images))
        result: torch.Tensor = torch.fft.fft2((self.maps.conj() * sampled).sum(dim=1))
        return result

    def to(self, device: torch.device | str) -> CoilNormal:
        """Return the same on another device."""
        return CoilNormal(maps=self.maps.to(device), sampled=self.sampled.to(device))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Example:
    """One simulated scan of one image."""

    target: torch.Tensor
    """The object x with its phase, complex64, `(y, x)`."""

    adjoint: torch.Tensor
    """``A^H y``, complex64, `(y, x)`."""

    eigenvalues: torch.Tensor
    """Those of ``A^H A``, or of the nearest circulant, real, `(y, x)` in FFT order."""

    noise_std: float
    """Standard deviation of the complex noise of one sample, ``E|e|^2 = noise_std^2``."""

    energy: float
    """``1/2 ||y||^2``."""

    recipe: Recipe
    """What was done to the image."""

    normal: CoilNormal | None = None
    """``A^H A`` on spectra `(1, y, x)` where it is not diagonal in Fourier, else None."""

    coil_kspace: torch.Tensor | None = None
    """Centred k-space y of several coils, complex `(1, coils, y, x)`, else None."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Examples of one size and number of coils; each plane is one of them."""

    target: torch.Tensor
    """Objects, complex64, `(planes, y, x)`."""

    adjoint: torch.Tensor
    """``A^H y``, complex64, `(planes, y, x)`."""

    eigenvalues: torch.Tensor
    """Eigenvalues, real, `(planes, y, x)` in FFT order."""

    noise_std: torch.Tensor
    """Standard deviations, float32, `(planes,)`."""

    energy: torch.Tensor
    """``1/2 ||y||^2``, float32, `(planes,)`."""

    normal: CoilNormal | None = None
    """``A^H A`` on spectra `(planes, y, x)` where it is not diagonal in Fourier, else None."""

    norm_squared: float = 1.0
    """Upper bound of ``||A||^2`` over the planes."""

    coil_kspace: torch.Tensor | None = None
    """Centred k-space y of several coils, complex `(planes, coils, y, x)`, else None."""

    name: str = ""
    """What the planes have in common, of validation batches."""

    def to(self, device: torch.device | str) -> Batch:
        """Return the same on another device."""
        names = ("target", "adjoint", "eigenvalues", "noise_std", "energy")
        moved = {name: getattr(self, name).to(device) for name in names}
        kspace = None if self.coil_kspace is None else self.coil_kspace.to(device)
        normal = self.normal and self.normal.to(device)
        return replace(self, **moved, normal=normal, coil_kspace=kspace)


def simulate_example(image: torch.Tensor, recipe: Recipe) -> Example:
    """Simulate the scan of one image.

    Parameters
    ----------
    image
        Object `(y, x)`, real or complex.
    recipe
        What is done to it.

    Returns
    -------
        What there is to learn from.

    Raises
    ------
    DataError
        If the image is not finite, or zero where noise is relative to it.

    Examples
    --------
    >>> example = simulate_example(torch.ones(16, 16), Recipe(window=0.5))
    >>> int(example.eigenvalues.sum()), example.energy
    (64, 128.0)
    """
    scan = simulate_kspace(image[None, None, None], recipe)
    maps = scan.coil_maps
    sampled = torch.fft.ifftshift(scan.mask.expand(1, 1, *scan.image.shape[-3:]), dim=(-2, -1))
    coil_images = centred_ifft(scan.kspace, (-2, -1))
    adjoint, eigenvalues, normal = coil_images, sampled.float(), None
    if recipe.n_coils > 1:
        adjoint = (maps.conj() * coil_images).sum(dim=-4, keepdim=True)
        operator = kspace_operator(mask=scan.mask, coil_maps=maps)
        circulant = circulant_gram(operator, tuple(scan.image.shape))
        assert circulant is not None  # noqa: S101 - it is known of Cartesian operators
        eigenvalues = circulant
        normal = CoilNormal(maps=maps[0, None, :, 0], sampled=sampled[0, :, 0].float())
    return Example(
        target=scan.image[0, 0, 0],
        adjoint=adjoint[0, 0, 0],
        eigenvalues=eigenvalues[0, 0, 0],
        noise_std=float(scan.noise_std),
        energy=0.5 * float(scan.kspace.abs().square().sum()),
        recipe=recipe,
        normal=normal,
        coil_kspace=None if normal is None else scan.kspace[0, None, :, 0],
    )


def stack_examples(examples: Sequence[Example], name: str = "") -> Batch:
    """Put examples of one size and number of coils together.

    Parameters
    ----------
    examples
        At least one.
    name
        What they have in common.

    Returns
    -------
        The batch; plane i is example i.
    """
    normals = [example.normal for example in examples if example.normal is not None]
    normal, norm_squared, kspace = None, 1.0, None
    if normals:
        kept = [e.coil_kspace for e in examples if e.coil_kspace is not None]
        kspace = torch.cat(kept) if len(kept) == len(examples) else None
        normal = CoilNormal(
            maps=torch.cat([n.maps for n in normals]),
            sampled=torch.cat([n.sampled for n in normals]),
        )
        norm_squared = float(normal.maps.abs().square().sum(dim=1).max())
    return Batch(
        target=torch.stack([example.target for example in examples]),
        adjoint=torch.stack([example.adjoint for example in examples]),
        eigenvalues=torch.stack([example.eigenvalues for example in examples]),
        noise_std=torch.tensor([example.noise_std for example in examples]),
        energy=torch.tensor([example.energy for example in examples]),
        normal=normal,
        norm_squared=norm_squared,
        coil_kspace=kspace,
        name=name,
    )
