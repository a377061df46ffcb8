"""Solvers: functions of operators and functionals that know no MRI."""

from lowfield_recon.solvers.admm import admm
from lowfield_recon.solvers.cg import cg
from lowfield_recon.solvers.fista import fista
from lowfield_recon.solvers.functionals import (
    LeastSquares,
    group_norm,
    project_groups,
    shrink_modulus,
)
from lowfield_recon.solvers.pdhg import pdhg
from lowfield_recon.solvers.records import Callback, Iteration, SolverResult

__all__ = [
    "Callback",
    "Iteration",
    "LeastSquares",
    "SolverResult",
    "admm",
    "cg",
    "fista",
    "group_norm",
    "pdhg",
    "project_groups",
    "shrink_modulus",
]
