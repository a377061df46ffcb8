r"""Convolutional sparse coding: the codes of an image in a dictionary, seen through an operator.

``min_s 1/2 ||A D s - y||^2 + sum_k ||Lambda_k s_k||_1`` depends on the data only through
``b = A^H y`` and ``A^H A``. All solvers pass over the codes once in each iteration, one or a few
filters at a time, so that what happens between the two Fourier transforms of a filter stays in the
processor's cache. `sparse_codes_descent` is the fastest and takes any operator;
`sparse_codes_fista` is the published iteration; `sparse_codes_admm` solves its linear part
exactly.
"""

from __future__ import annotations

from lowfield_recon.solvers.sparse_coding_admm import sparse_codes_admm
from lowfield_recon.solvers.sparse_coding_descent import sparse_codes_descent
from lowfield_recon.solvers.sparse_coding_fista import sparse_codes_fista
from lowfield_recon.solvers.sparse_coding_problem import (
    Penalty,
    SparseCodes,
    SparseCodingProblem,
)
from lowfield_recon.solvers.sparse_coding_steps import Momentum, extrapolation, shrink

__all__ = [
    "Momentum",
    "Penalty",
    "SparseCodes",
    "SparseCodingProblem",
    "extrapolation",
    "shrink",
    "sparse_codes_admm",
    "sparse_codes_descent",
    "sparse_codes_fista",
]
