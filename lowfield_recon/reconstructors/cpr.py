"""Patches as a smooth part plus a sparse one with a convex penalty."""

from __future__ import annotations

from lowfield_recon.reconstructors.smooth_plus_sparse import SmoothPlusSparse


class Cpr(SmoothPlusSparse):
    r"""``argmin_x 1/2 ||A x - y||^2 + sum_k min_a beta/2 ||U P_k x - C a||^2 + R(a)``.

    P_k x is the patch around pixel k; what of it lies in a smooth subspace is left free, the rest
    U P_k x is to be sparse in a dictionary ``D = U^T C``. Both were learnt on denoising; for
    another task only two numbers change, beta and lambda_0, the scale of R. R is convex, the
    norm of 2 x 2 neighbouring coefficients of an atom (of their moduli where the image is complex);
    odd sides get a free row or column more. Each (y, x) plane has a circular boundary.

    References
    ----------
    Ducotterd S et al. Learning of patch-based smooth-plus-sparse models for image reconstruction.
    arXiv:2412.13070
    """

    name = "cpr"
    summary = "patches as smooth plus sparse, convex penalty learnt on photographs"
    needs = "weights (they ship)"
