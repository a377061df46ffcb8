"""The two records that everybody shares: what is to be solved, and what came out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import torch

from lowfield_recon.errors import DataError
from lowfield_recon.mrpro_import import LinearOperator
from lowfield_recon.operators.cartesian import is_finite

ImageDomain = Literal["complex", "real", "nonnegative"]
Vector = tuple[float, float, float]

ProgressCallback = Callable[[int, int, float | None], None]
"""Called as `progress(iteration, total, objective)`; `objective` is None where it is not known."""


@runtime_checkable
class ImageObserver(Protocol):
    """A progress callback that wants to see images while a method runs: previews, curves of scores.

    Methods that can show their image do so where the callback that they are given is one; nothing
    that it does reaches them.
    """

    def __call__(self, iteration: int, total: int, objective: float | None, /) -> None:
        """Report progress, as `ProgressCallback`."""
        ...

    def wants_image(self, iteration: int) -> bool:
        """Return whether the image of this iteration is to be shown."""
        ...

    def show_image(self, iteration: int, image: torch.Tensor) -> None:
        """Look at an image, shape and unit as in the problem; not to be kept without a copy."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Geometry:
    """Where the voxels of an image sit in the patient, in LPS coordinates."""

    voxel_size_m: Vector
    """Spacing of the voxel centres along z, y, x [m]; across slices it includes the gap."""

    x_direction: Vector = (1.0, 0.0, 0.0)
    """Unit vector (LPS) along increasing x index, the readout."""

    y_direction: Vector = (0.0, 1.0, 0.0)
    """Unit vector (LPS) along increasing y index, the first phase encoding."""

    z_direction: Vector = (0.0, 0.0, 1.0)
    """Unit vector (LPS) along increasing z index, the slice or partition direction."""

    position_m: Vector = (0.0, 0.0, 0.0)
    """LPS position [m] of the voxel with index n // 2 along each axis."""

    is_known: bool = True
    """False when the file did not say and the directions above are a default."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InverseProblem:
    r"""Measured data and how it came about, ``y = A x + e`` with ``E|e|^2 = noise_std^2``.

    All that a reconstructor may look at is `data`, `operator`, `noise_std` and the image's shape
    and domain; `reference` is for scoring.

    Parameters
    ----------
    data
        Measured samples y: k-space `(*other, coils, k2, k1, k0)` or an image
        `(*other, channels, z, y, x)`, floating point or complex.
    operator
        Forward operator A, an mrpro `LinearOperator`.
    noise_std
        Standard deviation of the noise of one sample (for complex data of the complex noise), or
        None.
    image_shape
        Shape of x; found from the operator when it is not given.
    image_domain
        Values that x may take: `"complex"`, `"real"` or `"nonnegative"`.
    reference
        True image for scoring, shape `image_shape`, or None.
    geometry
        Voxel size, orientation and position, or None.

    Raises
    ------
    DataError
        If a shape, dtype or value does not fit; the message names both sides.

    Examples
    --------
    >>> from lowfield_recon.operators import identity_operator
    >>> problem = InverseProblem(
    ...     data=torch.ones(1, 1, 1, 4, 4), operator=identity_operator(), image_domain="real"
    ... )
    >>> problem.image_shape
    (1, 1, 1, 4, 4)
    """

    data: torch.Tensor
    operator: LinearOperator
    noise_std: float | None = None
    image_shape: tuple[int, ...] | None = None
    image_domain: ImageDomain = "complex"
    reference: torch.Tensor | None = None
    geometry: Geometry | None = None

    def __post_init__(self) -> None:
        """Check what the types cannot say, and find the image's shape."""
        _check_tensor("data", self.data)
        if not isinstance(self.operator, LinearOperator):
            raise DataError(
                f"operator: expected an mrpro LinearOperator, got {type(self.operator).__name__}; "
                "build one with lowfield_recon.operators."
            )
        if self.noise_std is not None and not (
            math.isfinite(self.noise_std) and self.noise_std >= 0
        ):
            raise DataError(
                f"noise_std: expected a finite number >= 0 in the unit of the data, got "
                f"{self.noise_std}; pass None when it is not known."
            )
        if self.image_domain not in ("complex", "real", "nonnegative"):
            raise DataError(
                f"image_domain: expected 'complex', 'real' or 'nonnegative', got "
                f"{self.image_domain!r}."
            )
        shape = _image_shape(self.operator, self.data)
        if self.image_shape is not None and tuple(self.image_shape) != shape:
            raise DataError(
                f"image_shape: {tuple(self.image_shape)} was given, but the operator maps the data "
                f"{tuple(self.data.shape)} to images {shape}; leave image_shape out or mend the "
                "operator."
            )
        object.__setattr__(self, "image_shape", shape)
        if self.reference is not None:
            _check_tensor("reference", self.reference)
            if tuple(self.reference.shape) != shape:
                raise DataError(
                    f"reference: expected the image's shape {shape}, got "
                    f"{tuple(self.reference.shape)}."
                )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the image, `(*other, coils or channels, z, y, x)`."""
        assert self.image_shape is not None  # noqa: S101 - set in __post_init__
        return self.image_shape

    @property
    def image_dtype(self) -> torch.dtype:
        """Dtype of the image: complex, or real where the domain says so, as precise as the data."""
        is_double = self.data.dtype in (torch.complex128, torch.float64)
        if self.image_domain == "complex":
            return torch.complex128 if is_double else torch.complex64
        return torch.float64 if is_double else torch.float32

    def to(self, device: torch.device | str) -> InverseProblem:
        """Return the same problem with data, operator and reference on another device.

        Parameters
        ----------
        device
            Where to, e.g. `"cuda"`.

        Returns
        -------
            A new problem; this one is left as it was.
        """
        return dataclasses.replace(
            self,
            data=self.data.to(device),
            operator=self.operator.to(device),
            reference=None if self.reference is None else self.reference.to(device),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reconstruction:
    """Image that a reconstructor found, with what it says about itself."""

    image: torch.Tensor
    """Image, shape `InverseProblem.shape`, in the unit of the data."""

    method: str
    """Name of the reconstructor."""

    diagnostics: Mapping[str, Any] = field(default_factory=dict)
    """Objective per iteration, optimality residual, stopping reason and what else the method
    reports."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Resolved settings: every None replaced by the value that was used."""

    seconds: float = 0.0
    """Wall time of the reconstruction [s]."""


def _check_tensor(name: str, value: torch.Tensor) -> None:
    if not isinstance(value, torch.Tensor):
        raise DataError(f"{name}: expected a torch tensor, got {type(value).__name__}.")
    if not (value.is_complex() or value.is_floating_point()):
        raise DataError(
            f"{name}: expected floating point or complex numbers, got {value.dtype}; convert it "
            "first."
        )
    if value.ndim < 4:
        raise DataError(
            f"{name}: expected (*other, coils or channels, z, y, x) or k-space (*other, coils, "
            "k2, k1, "
            f"k0), got shape {tuple(value.shape)}; add singleton axes, e.g. image[None, None]."
        )
    if value.numel() == 0:
        raise DataError(
            f"{name}: shape {tuple(value.shape)} holds no values; give at least one of each axis."
        )
    if not is_finite(value):
        bad = int((~torch.isfinite(value)).sum())
        raise DataError(
            f"{name}: {bad} of {value.numel()} values are NaN or infinite; expected finite "
            "numbers. "
            "Mend or mask them before reconstructing."
        )


def _image_shape(operator: LinearOperator, data: torch.Tensor) -> tuple[int, ...]:
    from lowfield_recon.operators.capabilities import image_shape_of

    return image_shape_of(operator, data)
