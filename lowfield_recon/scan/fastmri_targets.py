"""What fastMRI would compute as the target of a slice, and images cut to a target's grid."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lowfield_recon.errors import DataError
from lowfield_recon.operators.fourier import centred_ifft
from lowfield_recon.scan.records import Scan


def root_sum_of_squares_target(scan: Scan, index: int) -> torch.Tensor:
    r"""Compute the image that fastMRI stores as the target of a complete slice.

    ``x(r) = sqrt(sum_c |(F^H k_c)(r)|^2)``, cut to the header's image size.

    What was not acquired counts as zero. For a single coil this is the magnitude of its image.
    Where the image is narrower than the header's, it is cut to a square of its own width.

    Parameters
    ----------
    scan
        A scan on a Cartesian grid.
    index
        Which of its images.

    Returns
    -------
        Magnitude image `(1, 1, z, y, x)`, float32, in the unit of the samples.

    Raises
    ------
    DataError
        If the samples lie along a trajectory, or cannot be read.

    References
    ----------
    Zbontar J et al. fastMRI: An Open Dataset and Benchmarks for Accelerated MRI.
    https://doi.org/10.48550/arXiv.1811.08839
    """
    raw = scan.kspace(index)
    if raw.trajectory is not None:
        raise DataError(
            f"{scan.path.name}: its samples lie along a trajectory; fastMRI's target is defined "
            "for Cartesian samples only."
        )
    dims = tuple(d for d in (-3, -2, -1) if raw.data.shape[d] > 1)
    images = centred_ifft(raw.data, dims)
    combined = torch.linalg.vector_norm(images, dim=-4, keepdim=True)
    _, n_y, n_x = scan.header.recon_matrix
    width = combined.shape[-2]
    if width < n_y:
        n_y = n_x = width
    return crop_like_target(combined, (n_y, n_x)).contiguous()


def crop_like_target(image: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Cut an image about its centre where fastMRI does: from ``(n - m) // 2``.

    For even sizes, those of the data set, this is the centred cut of the package. From an even
    length n to an odd m it begins one pixel earlier, so that an image to be compared has to come
    from `problems(keep_oversampling=True)`.

    Parameters
    ----------
    image
        Any image `(..., y, x)`.
    shape
        The target's shape; its last two sizes (y, x) count. An axis on which the image is shorter
        stays, and the target has to be cut to it in its turn.

    Returns
    -------
        A view of the image.

    Raises
    ------
    DataError
        If image or shape have fewer than two axes, or a size is smaller than 1.

    Examples
    --------
    >>> crop_like_target(torch.arange(12).reshape(2, 6), (1, 1, 1, 2, 3))
    tensor([[1, 2, 3],
            [7, 8, 9]])
    """
    if image.ndim < 2 or len(shape) < 2 or min(shape[-2:]) < 1:
        raise DataError(
            f"crop_like_target: expected an image (..., y, x) and a shape ending in y, x, got "
            f"{tuple(image.shape)} and {tuple(shape)}."
        )
    for axis in (-2, -1):
        n, m = image.shape[axis], min(shape[axis], image.shape[axis])
        image = image.narrow(axis, (n - m) // 2, m)
    return image
