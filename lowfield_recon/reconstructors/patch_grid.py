"""The grid on which patches live: that of the image, or a larger one that is cropped."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from lowfield_recon.errors import DataError
from lowfield_recon.solvers.patch_regularizer import PatchRegularizer


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchGrid:
    """Planes (y, x) with more rows and columns than the image where the prior needs them."""

    shape: tuple[int, ...]
    """Shape of the image, `(*other, coils or channels, z, y, x)`."""

    before: tuple[int, int]
    """Rows and columns added in front."""

    size: tuple[int, int]
    """Rows and columns of the grid."""

    note: str
    """What was added and why; empty where nothing was."""

    @classmethod
    def around(
        cls, shape: tuple[int, ...], regularizer: PatchRegularizer, *, margin: int = 0
    ) -> PatchGrid:
        """Choose the grid for an image.

        Parameters
        ----------
        shape
            Shape of the image.
        regularizer
            Its patches must fit, and the sides must be multiples of its potential's block.
        margin
            Pixels to add on each side.

        Returns
        -------
            The grid.

        Raises
        ------
        DataError
            If the image is smaller than a patch.

        Examples
        --------
        >>> from lowfield_recon.solvers.patch_potentials import GroupPotential
        >>> prior = PatchRegularizer(
        ...     basis=torch.eye(9)[:1].reshape(1, 3, 3), factors=torch.ones(1, 1),
        ...     scales=torch.ones(1), beta=1.0, potential=GroupPotential(block=2),
        ... )
        >>> PatchGrid.around((1, 1, 1, 5, 6), prior).note
        '1 row and 0 columns added, since groups of 2 x 2 pixels need even sides'
        """
        _, ky, kx = regularizer.basis.shape
        ny, nx = shape[-2:]
        if ny < ky or nx < kx:
            raise DataError(
                f"image of {ny} x {nx} pixels: smaller than the patches of {ky} x {kx} pixels of "
                "these weights. Use tv or wavelet, or weights with smaller patches."
            )
        block = regularizer.potential.block
        size = tuple(block * math.ceil((n + 2 * margin) / block) for n in (ny, nx))
        rows, columns = size[0] - ny, size[1] - nx
        added = f"{rows} row{'s' * (rows != 1)} and {columns} column{'s' * (columns != 1)} added"
        why = (
            f"a margin of {margin} pixels"
            if margin
            else f"since groups of {block} x {block} pixels need even sides"
        )
        note = f"{added}, {why}" if rows or columns else ""
        return cls(shape=shape, before=(margin, margin), size=(size[0], size[1]), note=note)

    @property
    def is_plain(self) -> bool:
        """Whether the grid is that of the image."""
        return self.size == tuple(self.shape[-2:])

    def padded(self, image: torch.Tensor) -> torch.Tensor:
        """Return an image of the problem as planes on the grid, with zeros around it."""
        planes = image.reshape(-1, *self.shape[-2:])
        if self.is_plain:
            return planes
        grid = planes.new_zeros((planes.shape[0], *self.size))
        grid[self._inside] = planes
        return grid

    def cropped(self, planes: torch.Tensor) -> torch.Tensor:
        """Return planes on the grid as an image of the problem; the adjoint of `padded`."""
        return planes[self._inside].reshape(self.shape)

    def gram(
        self, gram: Callable[[torch.Tensor], torch.Tensor]
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return a Gram of images as one of planes on the grid."""
        return lambda planes: self.padded(gram(self.cropped(planes)))

    def spectrum(self, eigenvalues: torch.Tensor) -> torch.Tensor:
        """Return eigenvalues `(planes, y, x)` on the grid: those of the nearest frequencies."""
        if self.is_plain:
            return eigenvalues
        for dim, old, new in zip((-2, -1), self.shape[-2:], self.size, strict=True):
            if eigenvalues.shape[dim] == 1:
                continue
            nearest = torch.arange(new, device=eigenvalues.device) * old / new
            eigenvalues = eigenvalues.index_select(dim, nearest.round().long() % old)
        share = math.prod(self.shape[-2:]) / math.prod(self.size)
        return eigenvalues * share

    @property
    def _inside(self) -> tuple[slice, slice, slice]:
        (top, left), (ny, nx) = self.before, self.shape[-2:]
        return slice(None), slice(top, top + ny), slice(left, left + nx)
