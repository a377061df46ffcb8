"""The tools that a benchmark compares: whether each is here, how to get it, how it is called.

The module of a tool is imported in its own process only. It has one function, `prepare(case,
problem, exact_steps) -> Prepared`, which brings the data into the tool's own layout; that is not
timed. Its `solve` builds the operators, forms the right-hand side and iterates; that is timed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from lowfield_recon.errors import UsageError, nearest_name
from lowfield_recon.evaluation.benchmark.objective import ComplexArray

Observer = Callable[[int, Callable[[], ComplexArray]], bool]
"""Called as `observer(iteration, image)` after each iteration, from 1 on; False stops it."""

Solve = Callable[[int, Observer | None], Callable[[], ComplexArray]]
"""`solve(iterations, observer)` runs from zero; what it returns gives the image `(z, y, x)`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A tool that holds the data of one case in its own layout."""

    solve: Solve

    overhead_seconds: float = 0.0
    """Time of a call that does nothing [s], to be subtracted; 0 for tools inside the process."""

    measure_memory: Callable[[], tuple[float, float]] | None = None
    """Memory (baseline, peak) of a program outside the process [MiB]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A package or program that solves the benchmark's problems."""

    name: str
    module: str
    """Module with its `prepare` function."""

    package: str | None
    """Name on the package index, None for a program."""

    install: str
    """How to get it."""

    calls: dict[str, str]
    """Exact call per method, for the report."""

    not_applicable: dict[str, str] = field(default_factory=dict)
    """Reason per method that it cannot solve the same problem."""

    observable: frozenset[str] = frozenset()
    """Methods in which it shows its image while it iterates; in others it is run per count."""

    def is_installed(self) -> bool:
        """Tell whether the tool can be used here, without importing it."""
        if self.package is None:
            return shutil.which(self.name) is not None
        return find_spec(self.module_of_package) is not None

    @property
    def module_of_package(self) -> str:
        """Name under which the package is imported."""
        return (self.package or self.name).replace("-", "_")

    def version(self) -> str:
        """Return the installed version, or `"not installed"`."""
        if self.package is None:
            from lowfield_recon.evaluation.benchmark.tools.bart import bart_version

            return bart_version() if self.is_installed() else "not installed"
        try:
            return version(self.package)
        except PackageNotFoundError:
            return "not installed"


_HOME = "lowfield_recon.evaluation.benchmark.tools."

TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool(
            name="ours",
            module=_HOME + "ours",
            package="lowfield-recon",
            install="pip install lowfield-recon",
            calls={
                method: f"reconstruct(InverseProblem(data=y, operator=kspace_operator(mask=mask, "
                f"coil_maps=maps)), '{method}', regularization_weight=w, iterations=N, "
                f"tolerance=0.0{extra})"
                for method, extra in {
                    "cg-sense": "",
                    "tv": "",
                    "wavelet": ", wavelet='haar', levels=L",
                }.items()
            },
        ),
        Tool(
            name="sigpy",
            module=_HOME + "sigpy_apps",
            package="sigpy",
            install="pip install sigpy",
            calls={
                "cg-sense": "LinearLeastSquares(A, y, lamda=w, max_iter=N, tol=0), as SenseRecon",
                "tv": "LinearLeastSquares(A, y, proxg=<l2,1 prox>, G=FiniteDifference(shape), "
                "max_iter=N), PDHG, on the reflected problem because its differences are backward",
                "wavelet": "LinearLeastSquares(A, y, proxg=UnitaryTransform(<l1 prox of details>, "
                "Wavelet(shape, axes, 'haar', L)), max_iter=N), FISTA",
            },
            observable=frozenset(("cg-sense", "tv", "wavelet")),
        ),
        Tool(
            name="mrpro",
            module=_HOME + "mrpro_algorithms",
            package="mrpro",
            install="pip install mrpro",
            calls={
                "cg-sense": "cg(A.gram + w * IdentityOp(), A.H(y), max_iterations=N, "
                "tolerance=1e-12)",
                "tv": "pdhg(0.5 * L2NormSquared(y) | w * <l2,1 norm>, None, A above "
                "FiniteDifferenceOp(dim, 'forward', 'circular'), max_iterations=N)",
                "wavelet": "pgd(0.5 * L2NormSquared(y) @ A @ W.H, w * <l1 norm of details>, "
                "max_iterations=N), W = WaveletOp('haar', L), FISTA on the coefficients",
            },
            observable=frozenset(("cg-sense", "tv", "wavelet")),
        ),
        Tool(
            name="bart",
            module=_HOME + "bart",
            package=None,
            install="apt install bart (Debian), or https://mrirecon.github.io/bart/",
            calls={
                "cg-sense": "bart pics -l2 -r w -i N -w 1 -S kspace maps out",
                "tv": "bart pics -R T:<image axes>:0:w -i N -w 1 -S kspace maps out (ADMM), on the "
                "reflected problem because its differences are backward",
            },
            not_applicable={
                "wavelet": "pics penalises the approximation band too, and does not reach the "
                "optimum of that objective either"
            },
        ),
        Tool(
            name="deepinv",
            module=_HOME + "deepinv_optim",
            package="deepinv",
            install="pip install 'lowfield-recon[compare]'",
            calls={
                "cg-sense": "MultiCoilMRI(mask, coil_maps).prox_l2(z=0, y, gamma=1/w, solver='CG', "
                "max_iter=N, tol=0); MRI(mask, three_d=True).prox_l2 in closed form for one coil",
                "tv": "PDCP(K=<periodic forward differences>, prior=<l2,1 norm>, "
                "data_fidelity=L2(), g_first=True, max_iter=N), inner CG of prox_l2 as it comes",
                "wavelet": "FISTA(data_fidelity=L2(), prior=<l1 of details of "
                "WaveletDenoiser('haar', L).dwt>, max_iter=N, early_stop=False)",
            },
            observable=frozenset(("tv", "wavelet")),
        ),
    )
}


def select_tools(names: tuple[str, ...] = ()) -> tuple[Tool, ...]:
    """Return the tools of these names, all of them when there are none.

    Parameters
    ----------
    names
        Names as in `TOOLS`.

    Returns
    -------
        The tools in the registry's order, installed or not.

    Raises
    ------
    UsageError
        If a name is not known.

    Examples
    --------
    >>> [tool.name for tool in select_tools(("sigpy", "ours"))]
    ['ours', 'sigpy']
    """
    for name in names:
        if name not in TOOLS:
            raise UsageError(f"tool '{name}' is not known. {nearest_name(name, tuple(TOOLS))}")
    return tuple(tool for tool in TOOLS.values() if not names or tool.name in names)
