"""How much the worst small change of the data changes the image."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from lowfield_recon.errors import UsageError
from lowfield_recon.evaluation.resampling import Method, NoiseSource, image_by, known_noise
from lowfield_recon.problem import InverseProblem

_FIRST_DIRECTIONS = 3
_PARALLEL = 1e-3
"""A direction is new where at least this part of it is not in the span of those before."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Instability:
    """What `find_worst_case` found."""

    amplification: float
    """``||f(y + e) - f(y)|| / ||e||`` for the worst perturbation found: a lower bound of the
    largest one."""

    typical: float
    """The same for random noise of the same size, root mean square over a few draws."""

    relative_change: float
    """``||f(y + e) - f(y)|| / ||f(y)||`` for the worst perturbation found."""

    size: float
    """``||e|| = radius noise_std sqrt(m)`` in the unit of the data."""

    noise_source: str
    """Where the noise level comes from."""

    perturbation: torch.Tensor
    """The worst e, shape of the data."""

    change: torch.Tensor
    """``f(y + e) - f(y)``, shape of the image."""


def worst_case_instability(
    reconstruct: Method,
    problem: InverseProblem,
    *,
    radius: float = 0.1,
    steps: int = 12,
    seed: int = 0,
) -> float:
    """Return by how much the worst small change of the data found is amplified in the image.

    ``||f(y + e) - f(y)|| / ||e||``, see `find_worst_case`.

    Parameters
    ----------
    reconstruct
        Reconstructor, or function from a problem to an image; deterministic.
    problem
        Data, operator and noise level.
    radius
        Size of the change over that of the noise.
    steps
        Directions tried, at least 3.
    seed
        Seed of the random directions.

    Returns
    -------
        A lower bound of the largest amplification.

    Raises
    ------
    UsageError
        As `find_worst_case`.

    Examples
    --------
    >>> from lowfield_recon.operators import identity_operator
    >>> problem = InverseProblem(
    ...     data=torch.ones(1, 1, 1, 4, 4), operator=identity_operator(), image_domain="real",
    ...     noise_std=0.1,
    ... )
    >>> round(worst_case_instability(lambda p: 3 * p.data, problem, steps=3), 4)
    3.0
    """
    found = find_worst_case(reconstruct, problem, radius=radius, steps=steps, seed=seed)
    return found.amplification


def find_worst_case(
    reconstruct: Method,
    problem: InverseProblem,
    *,
    radius: float = 0.1,
    steps: int = 12,
    seed: int = 0,
) -> Instability:
    r"""Search for the small perturbation of the data that changes the image most.

    It maximises ``||f(y + e) - f(y)||`` over ``||e|| = radius noise_std sqrt(m)`` without gradients
    of f. Directions are tried by finite differences of that size: random ones first, then
    ``A (f(y + v) - f(y))`` of the worst combination v so far. Of variational methods ``A f`` has a
    symmetric derivative, so that these span a Krylov space of it; the worst combination of the
    directions is the first right singular vector of the changes that they cause (Rayleigh-Ritz).
    What is reported is a real reconstruction of ``y + e``, so a lower bound of the worst case.

    Parameters
    ----------
    reconstruct
        Reconstructor, or function from a problem to an image; deterministic.
    problem
        Data, operator and noise level.
    radius
        Size of the perturbation over that of the noise; small, as Antun et al. ask for changes
        that would not be noticed in the data.
    steps
        Directions tried, at least 3; as many reconstructions, and three more.
    seed
        Seed of the random directions.

    Returns
    -------
        Worst and typical amplification, with perturbation and change.

    Raises
    ------
    UsageError
        If radius or steps are out of range, or there is no noise.

    References
    ----------
    Antun V, Renna F, Poon C, Adcock B, Hansen AC. Proc Natl Acad Sci 2020;117:30088-30095.
    https://doi.org/10.1073/pnas.1907377117

    Examples
    --------
    >>> from lowfield_recon.operators import identity_operator
    >>> problem = InverseProblem(
    ...     data=torch.ones(1, 1, 1, 4, 4), operator=identity_operator(), image_domain="real",
    ...     noise_std=0.1,
    ... )
    >>> found = find_worst_case(lambda p: 3 * p.data, problem, steps=3)
    >>> round(found.amplification, 4), round(found.size, 4)
    (3.0, 0.04)
    """
    if not (math.isfinite(radius) and radius > 0):
        raise UsageError(f"radius: expected a finite number > 0, got {radius}.")
    if steps < _FIRST_DIRECTIONS:
        raise UsageError(f"steps: expected at least {_FIRST_DIRECTIONS}, got {steps}.")
    sigma, source = known_noise(problem)
    noise = NoiseSource(problem, seed)
    size = radius * sigma * math.sqrt(int(noise.measured.sum()))
    base = image_by(reconstruct, problem)

    def change(direction: torch.Tensor) -> torch.Tensor:
        moved = replace(problem, data=problem.data + size * direction)
        return image_by(reconstruct, moved) - base

    tried = _Directions()
    squares = []
    for step in range(steps):
        direction = noise.draw(step)
        if step >= _FIRST_DIRECTIONS:
            with torch.no_grad():
                (response,) = problem.operator(tried.worst_change())
            direction = tried.new(response * noise.measured, otherwise=direction)
        else:
            direction = tried.new(direction, otherwise=direction)
        caused = change(direction)
        tried.add(direction, caused)
        if step < _FIRST_DIRECTIONS:
            squares.append(_norm(caused) ** 2)
    candidates = [tried.worst_direction(), -tried.worst_direction(), tried.best_single()]
    changes = [change(candidates[0]), change(candidates[1]), tried.best_single_change()]
    worst = max(range(3), key=lambda i: _norm(changes[i]))
    whole = _norm(base)
    return Instability(
        amplification=_norm(changes[worst]) / size,
        typical=math.sqrt(sum(squares) / len(squares)) / size,
        relative_change=_norm(changes[worst]) / whole if whole > 0 else math.inf,
        size=size,
        noise_source=source,
        perturbation=size * candidates[worst],
        change=changes[worst],
    )


class _Directions:
    """Orthonormal directions in the real vector space of the data, and the changes they cause."""

    def __init__(self) -> None:
        self._directions: list[torch.Tensor] = []
        self._changes: list[torch.Tensor] = []
        self._weights = torch.zeros(0, dtype=torch.float64)

    def new(self, wanted: torch.Tensor, *, otherwise: torch.Tensor) -> torch.Tensor:
        """Return a unit direction orthogonal to all, from the first of two that has such a part."""
        for candidate in (wanted, otherwise):
            whole = _norm(candidate)
            rest = candidate
            for _ in range(2):  # twice, as once loses orthogonality to rounding
                for known in self._directions:
                    rest = rest - _inner(known, rest) * known
            if whole > 0 and _norm(rest) > _PARALLEL * whole:
                return rest / _norm(rest)
        raise UsageError(
            f"steps: the data has only {len(self._directions)} independent directions; ask for "
            "fewer steps."
        )

    def add(self, direction: torch.Tensor, change: torch.Tensor) -> None:
        """Keep a direction, and find the worst combination of all."""
        self._directions.append(direction)
        self._changes.append(change)
        n = len(self._changes)
        products = torch.empty(n, n, dtype=torch.float64)
        for i, a in enumerate(self._changes):
            for j, b in enumerate(self._changes[: i + 1]):
                products[i, j] = products[j, i] = _inner(a, b)
        self._weights = torch.linalg.eigh(products).eigenvectors[:, -1]

    def worst_direction(self) -> torch.Tensor:
        return self._combined(self._directions)

    def worst_change(self) -> torch.Tensor:
        return self._combined(self._changes)

    def best_single(self) -> torch.Tensor:
        return self._directions[self._best()]

    def best_single_change(self) -> torch.Tensor:
        return self._changes[self._best()]

    def _best(self) -> int:
        return max(range(len(self._changes)), key=lambda i: _norm(self._changes[i]))

    def _combined(self, tensors: list[torch.Tensor]) -> torch.Tensor:
        total = torch.zeros_like(tensors[0])
        for weight, tensor in zip(self._weights.tolist(), tensors, strict=True):
            total = total + weight * tensor
        return total


def _inner(a: torch.Tensor, b: torch.Tensor) -> float:
    """Return ``Re <a, b>`` in double precision."""
    if a.is_complex() or b.is_complex():
        x, y = a.to(torch.complex128).reshape(-1), b.to(torch.complex128).reshape(-1)
        return float(torch.vdot(x, y).real)
    return float(torch.dot(a.double().reshape(-1), b.double().reshape(-1)))


def _norm(a: torch.Tensor) -> float:
    return math.sqrt(max(_inner(a, a), 0.0))
