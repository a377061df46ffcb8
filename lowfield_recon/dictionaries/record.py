"""A convolutional dictionary: kernels of unit norm with their provenance."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from lowfield_recon.errors import DataError, UsageError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dictionary:
    """Real kernels d_k of unit norm, ``D s = sum_k d_k * s_k`` with a true convolution.

    Parameters
    ----------
    kernels
        `(K, ky, kx)`, real, odd kernel sizes, each of unit norm; the centre tap is the origin.
    name
        Name in a bank, or where it came from.
    provenance
        Images, licence, hyper-parameters, seed: whatever tells how it came about.

    Raises
    ------
    DataError
        If the kernels have the wrong rank, even size, NaN, or an atom that is zero or not of unit
        norm.

    Examples
    --------
    >>> Dictionary(kernels=torch.eye(3)[None] / 3**0.5).n_kernels
    1
    """

    kernels: torch.Tensor
    name: str = "unnamed"
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the kernels."""
        d = self.kernels
        if not isinstance(d, torch.Tensor):
            raise DataError(
                f"dictionary '{self.name}': expected kernels as a torch tensor (K, ky, kx), got "
                f"{type(d).__name__}; use torch.as_tensor."
            )
        if d.ndim != 3 or d.is_complex() or not d.is_floating_point() or d.numel() == 0:
            raise DataError(
                f"dictionary '{self.name}': expected real kernels (K, ky, kx), got {d.dtype} "
                f"{tuple(d.shape)}; give at least one kernel, as floating-point numbers."
            )
        if d.shape[1] % 2 == 0 or d.shape[2] % 2 == 0:
            raise DataError(
                f"dictionary '{self.name}': kernels of {d.shape[1]}x{d.shape[2]} have no centre "
                "tap; expected odd sizes. Pad them with a row and a column of zeros."
            )
        if not bool(torch.isfinite(d).all()):
            raise DataError(
                f"dictionary '{self.name}': some values are NaN or infinite; expected "
                "finite ones. Learn it again, or drop those atoms."
            )
        norms = torch.linalg.vector_norm(d.double().flatten(1), dim=1)
        worst = int((norms - 1).abs().argmax())
        if not bool((norms - 1).abs().max() <= 1e-4):
            raise DataError(
                f"dictionary '{self.name}': atom {worst} has norm {float(norms[worst]):.6g}, "
                "expected 1; divide each atom by its norm and drop those that are zero."
            )

    @property
    def n_kernels(self) -> int:
        """Number of atoms K."""
        return self.kernels.shape[0]

    @property
    def kernel_size(self) -> tuple[int, int]:
        """Kernel size (ky, kx) in pixels."""
        return self.kernels.shape[1], self.kernels.shape[2]

    def sha256(self) -> str:
        """Return the hash of the kernels as little-endian float32 in C order."""
        values = self.kernels.detach().cpu().float().contiguous().numpy().astype("<f4")
        return hashlib.sha256(values.tobytes()).hexdigest()


def check_fits(dictionary: Dictionary, size: tuple[int, int]) -> None:
    """Refuse a dictionary whose kernels are larger than the image.

    The model itself would take them, wrapped round, but nobody means that.

    Parameters
    ----------
    dictionary
        The dictionary.
    size
        Image size (y, x) [pixels].

    Raises
    ------
    UsageError
        If a kernel is longer than the image along an axis.

    Examples
    --------
    >>> check_fits(Dictionary(kernels=torch.eye(3)[None] / 3**0.5), (2, 8))
    Traceback (most recent call last):
        ...
    lowfield_recon.errors.UsageError: dictionary 'unnamed': kernels of 3x3 are larger than the \
image of 2x8 pixels; choose a dictionary with smaller kernels.
    """
    (k_y, k_x), (n_y, n_x) = dictionary.kernel_size, size
    if k_y > n_y or k_x > n_x:
        raise UsageError(
            f"dictionary '{dictionary.name}': kernels of {k_y}x{k_x} are larger than the image of "
            f"{n_y}x{n_x} pixels; choose a dictionary with smaller kernels."
        )
