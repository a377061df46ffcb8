"""What a solver may exploit of an operator: a diagonal Gram, its norm, the shapes it maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from mrpro.operators import IdentityOp
from mrpro.operators.LinearOperator import LinearOperatorComposition

from lowfield_recon.errors import DataError
from lowfield_recon.mrpro_import import LinearOperator

NormKind = Literal["exact", "upper bound", "estimate"]
DataDomain = Literal["kspace", "image"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Capabilities:
    """What is known of an operator A without applying it."""

    gram_fourier: torch.Tensor | None = None
    """Eigenvalues g >= 0 of ``A^H A = F^H diag(g) F``, in the order of `torch.fft.fftn` (zero
    frequency first), broadcastable to the image; None where the Gram is not diagonal in Fourier
    space."""

    gram_image: torch.Tensor | None = None
    """Diagonal of A^H A where that is diagonal in image space, broadcastable to the image, else
    None."""

    symbol_fourier: torch.Tensor | None = None
    """Eigenvalues of A itself where it maps images to images and is diagonal in Fourier space."""

    symbol_image: torch.Tensor | None = None
    """Diagonal of A itself where it maps images to images pixel by pixel."""

    norm_bound: float | None = None
    """Upper bound of the operator norm ||A||, or None where none is known."""

    norm_is_exact: bool = False
    """Whether `norm_bound` is the norm itself."""

    data_domain: DataDomain = "image"
    """Whether y is k-space or an image (decides how noise is estimated)."""


@dataclass(frozen=True, slots=True)
class OperatorNorm:
    """Norm ||A|| and how far it can be trusted."""

    value: float
    kind: NormKind


@runtime_checkable
class DescribedOperator(Protocol):
    """An operator of this package, which knows its capabilities and the shapes it maps."""

    def capabilities(self) -> Capabilities:
        """Return what is known of the operator."""
        ...

    def image_shape_for(self, data_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of x for data of a shape, or raise `DataError` where they do not fit."""
        ...


def capabilities(operator: LinearOperator) -> Capabilities:
    """Return what is known of an operator, or of a composition, without applying it.

    ``(A B)^H (A B) = B^H (A^H A) B`` stays diagonal where A's Gram and B are diagonal in the same
    space, and ``||A B|| <= ||A|| ||B||``.

    Parameters
    ----------
    operator
        Any mrpro `LinearOperator`.

    Returns
    -------
        The capabilities; all None for an operator that this package does not know.

    Examples
    --------
    >>> from lowfield_recon.operators import mask_operator
    >>> capabilities(mask_operator(torch.tensor([[[[1.0, 0.0]]]]))).gram_image
    tensor([[[[1., 0.]]]])
    """
    if isinstance(operator, DescribedOperator):
        return operator.capabilities()
    if isinstance(operator, IdentityOp):
        one = torch.ones(1, 1, 1, 1)
        return Capabilities(
            gram_fourier=one, gram_image=one, symbol_fourier=one, symbol_image=one,
            norm_bound=1.0, norm_is_exact=True,
        )  # fmt: skip
    if isinstance(operator, LinearOperatorComposition):
        return _composed(capabilities(operator._operator1), capabilities(operator._operator2))
    return Capabilities()


def _composed(outer: Capabilities, inner: Capabilities) -> Capabilities:
    """Combine what is known of `outer @ inner`."""

    def product(a: torch.Tensor | None, b: torch.Tensor | None) -> torch.Tensor | None:
        return None if a is None or b is None else a * b

    def squared(symbol: torch.Tensor | None) -> torch.Tensor | None:
        return None if symbol is None else symbol.abs().square()

    gram_fourier = product(outer.gram_fourier, squared(inner.symbol_fourier))
    gram_image = product(outer.gram_image, squared(inner.symbol_image))
    norm_bound, norm_is_exact = _norm_of_gram(gram_fourier, gram_image)
    if norm_bound is None and outer.norm_bound is not None and inner.norm_bound is not None:
        norm_bound = outer.norm_bound * inner.norm_bound
    return Capabilities(
        gram_fourier=gram_fourier,
        gram_image=gram_image,
        symbol_fourier=product(outer.symbol_fourier, inner.symbol_fourier),
        symbol_image=product(outer.symbol_image, inner.symbol_image),
        norm_bound=norm_bound,
        norm_is_exact=norm_is_exact,
        data_domain=outer.data_domain,
    )


def _norm_of_gram(*grams: torch.Tensor | None) -> tuple[float | None, bool]:
    """Return the exact norm from the first known diagonal Gram."""
    for gram in grams:
        if gram is not None:
            return float(gram.max().sqrt()), True
    return None, False


def operator_norm(
    operator: LinearOperator,
    image_shape: Sequence[int],
    *,
    dtype: torch.dtype = torch.complex64,
    device: torch.device | str = "cpu",
    iterations: int = 60,
    seed: int = 0,
) -> OperatorNorm:
    r"""Return ``||A||``: exact or bounded where the structure tells, else estimated by Lanczos.

    The Lanczos process on ``A^H A`` gives a Ritz value ``theta`` with residual ``r``; the estimate
    is ``sqrt(theta + r)``, so that it does not fall short where the process has not converged.

    Parameters
    ----------
    operator
        Operator A.
    image_shape
        Shape of x, `(*other, coils or channels, z, y, x)`.
    dtype
        Dtype of x.
    device
        Where A lives.
    iterations
        Most Lanczos steps.
    seed
        Seed of the random start.

    Returns
    -------
        The norm and its kind: `"exact"`, `"upper bound"` or `"estimate"`.

    References
    ----------
    Golub GH, Van Loan CF. Matrix Computations, 4th ed., section 10.1. Kuczynski J, Wozniakowski H.
    SIAM J Matrix Anal Appl 1992;13:1094-1122. https://doi.org/10.1137/0613066

    Examples
    --------
    >>> from lowfield_recon.operators import kspace_operator
    >>> operator_norm(kspace_operator(mask=torch.ones(1, 1, 1, 8, 1, dtype=bool)), (1, 1, 1, 8, 8))
    OperatorNorm(value=1.0, kind='exact')
    """
    known = capabilities(operator)
    if known.norm_bound is not None:
        return OperatorNorm(known.norm_bound, "exact" if known.norm_is_exact else "upper bound")
    theta, residual = _lanczos(operator.gram, tuple(image_shape), dtype, device, iterations, seed)
    return OperatorNorm(float(max(theta + residual, 0.0) ** 0.5), "estimate")


@torch.no_grad()
def _lanczos(
    gram: LinearOperator,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    device: torch.device | str,
    iterations: int,
    seed: int,
) -> tuple[float, float]:
    """Return the largest Ritz value of a Hermitian operator and its residual norm."""
    generator = torch.Generator().manual_seed(seed)
    q = torch.randn(shape, dtype=dtype, generator=generator).to(device)
    q /= torch.linalg.vector_norm(q)
    basis, alpha, beta = [q], [], []
    for _ in range(min(iterations, q.numel())):
        (v,) = gram(basis[-1])
        alpha.append(float(torch.sum(basis[-1].conj() * v).real))
        for previous in basis:  # full reorthogonalisation, since only few vectors are kept
            v = v - torch.sum(previous.conj() * v) * previous
        beta.append(float(torch.linalg.vector_norm(v)))
        tridiagonal = torch.diag(torch.tensor(alpha, dtype=torch.float64))
        if len(alpha) > 1:
            off = torch.tensor(beta[:-1], dtype=torch.float64)
            tridiagonal = tridiagonal + torch.diag(off, 1) + torch.diag(off, -1)
        values, vectors = torch.linalg.eigh(tridiagonal)
        residual = beta[-1] * abs(float(vectors[-1, -1]))
        if residual <= 1e-4 * float(values[-1]) or beta[-1] <= 1e-12 * abs(alpha[0]):
            break
        basis.append(v / beta[-1])
    return float(values[-1]), residual


def image_shape_of(operator: LinearOperator, data: torch.Tensor) -> tuple[int, ...]:
    """Return the shape of the images that an operator maps to data of this shape.

    Operators of this package answer from their own shapes; of others the adjoint is applied once.

    Parameters
    ----------
    operator
        Operator A.
    data
        Measured samples y.

    Returns
    -------
        Shape of x.

    Raises
    ------
    DataError
        If the operator does not fit the data; the message names both sides.

    Examples
    --------
    >>> from lowfield_recon.operators import downsample_operator
    >>> image_shape_of(downsample_operator(2, image_shape=(1, 1, 8, 8)), torch.ones(1, 1, 1, 4, 4))
    (1, 1, 1, 8, 8)
    """
    shape = _known_image_shape(operator, tuple(data.shape))
    if shape is not None:
        return shape
    name = type(operator).__name__
    try:
        with torch.no_grad():
            (image,) = operator.adjoint(data)
            (back,) = operator(image)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise DataError(
            f"operator: {name} cannot be applied to data {tuple(data.shape)} "
            f"({_first_line(error)}); "
            "build the operator for the shape of the data."
        ) from error
    if back.shape != data.shape:
        raise DataError(
            f"operator: {name} gives data {tuple(back.shape)}, but the data is "
            f"{tuple(data.shape)}; "
            "build the operator for the shape of the data."
        )
    return tuple(image.shape)


def _known_image_shape(
    operator: LinearOperator, data_shape: tuple[int, ...]
) -> tuple[int, ...] | None:
    if isinstance(operator, DescribedOperator):
        return operator.image_shape_for(data_shape)
    if isinstance(operator, IdentityOp):
        return data_shape
    if isinstance(operator, LinearOperatorComposition):
        between = _known_image_shape(operator._operator1, data_shape)
        return None if between is None else _known_image_shape(operator._operator2, between)
    return None


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
