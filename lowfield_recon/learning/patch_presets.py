"""Strength of the patch prior by task: beta and lambda_0 that its authors tuned, and some of ours.

The published numbers are those of the authors' public program (their list of settings per task,
commit 9677010 of github.com/StanislasDucotterd/Smooth_Plus_Sparse_Model, MIT). All tasks but
denoising use the model that was trained on noise of 25/255, images in [0, 1], and a real
nonnegative image. Those that were tuned here say in `source` on what.

References
----------
Ducotterd S et al. Learning of patch-based smooth-plus-sparse models for image reconstruction.
arXiv:2412.13070
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lowfield_recon.errors import UsageError, nearest_name


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchPreset:
    """Weights and strength of one method for one task."""

    method: str
    """`"ncpr"` or `"cpr"`."""

    task: str
    """What it was tuned for."""

    weights: str
    """Name of the weights that ship."""

    beta: float | None
    """Weight of the quadratic; None is the weights' own."""

    base_scale: float | None
    """lambda_0, in the unit of images in [0, 1]; None is the weights' own."""

    origin: Literal["published optimum", "tuned here"] = "published optimum"
    """Whose optimum it is."""

    source: str = "github.com/StanislasDucotterd/Smooth_Plus_Sparse_Model, commit 9677010"
    """Where the numbers come from, or what they were tuned on and with which command."""


_TUNED: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "super-resolve-x4": ((2.58673e-3, 9.29068e-4), (3.89756e-2, 5.2556e-5)),
    "mri-8x-pd": ((1.89763e-2, 1.3139e-3), (0.480868, 2.72627e-4)),
    "mri-8x-pdfs": ((1.1783e-2, 1.10485e-3), (0.155902, 2.5e-4)),
    "mri-16x-pd": ((5.15129e-4, 6.02426e-4), (0.311805, 2.5e-4)),
    "mri-16x-pdfs": ((1.5e-2, 1e-3), (0.440958, 2.5e-4)),
}
"""(beta, lambda_0) of ncpr and of cpr, by task."""

_TRAINED = {"denoise-sigma25": "sigma25", "denoise-sigma5": "sigma5"}

_METHODS = ("ncpr", "cpr")

_TUNED_HERE: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "mri-multicoil-4x": ((3e-3, 1.7e-3), (7.5e-3, 3.2e-4)),
}
"""(beta, lambda_0) of ncpr and of cpr, by task, with the complex image of several coils."""

_HOW = {
    "mri-multicoil-4x": (
        "two T1-weighted heads at 2 mm (108 x 88; subjects ilist1 and ilist14 of github.com/stnava/"
        "ANTsTutorial), simulated with 4 coils, phase 1.5 rad and snr 30; lowfield-recon tune "
        "--acceleration 4 --calibration-lines 10 --set iterations=120 --search-factor 2 "
        "--stop-factor 1.3 --tolerance-db 0.01"
    ),
}

PRESETS = tuple(
    PatchPreset(
        method=method, task=task, weights=f"{method}_{level}", beta=None, base_scale=None
    )
    for task, level in _TRAINED.items()
    for method in _METHODS
) + tuple(
    PatchPreset(
        method=method, task=task, weights=f"{method}_sigma25", beta=beta, base_scale=base_scale
    )
    for task, pairs in _TUNED.items()
    for method, (beta, base_scale) in zip(_METHODS, pairs, strict=True)
) + tuple(
    PatchPreset(
        method=method, task=task, weights=f"{method}_sigma25", beta=beta, base_scale=base_scale,
        origin="tuned here", source=_HOW[task],
    )
    for task, pairs in _TUNED_HERE.items()
    for method, (beta, base_scale) in zip(_METHODS, pairs, strict=True)
)  # fmt: skip
"""The published optima, then those that were tuned here."""


def patch_preset_names(method: str) -> tuple[str, ...]:
    """List the tasks that have a preset.

    Parameters
    ----------
    method
        `"ncpr"` or `"cpr"`.

    Returns
    -------
        Names, the same for both.

    Examples
    --------
    >>> patch_preset_names("cpr")[:3]
    ('denoise-sigma25', 'denoise-sigma5', 'super-resolve-x4')
    """
    return tuple(preset.task for preset in PRESETS if preset.method == method)


def patch_preset(method: str, name: str) -> PatchPreset:
    """Return the optimum of a task.

    Parameters
    ----------
    method
        `"ncpr"` or `"cpr"`.
    name
        Name of the task.

    Returns
    -------
        Weights, beta and lambda_0.

    Raises
    ------
    UsageError
        If the method or the task has none.

    Examples
    --------
    >>> preset = patch_preset("ncpr", "mri-8x-pd")
    >>> preset.weights, preset.beta, preset.base_scale
    ('ncpr_sigma25', 0.0189763, 0.0013139)
    >>> patch_preset("ncpr", "denoise-sigma5").beta is None
    True
    """
    if method not in _METHODS:
        raise UsageError(f"'{method}' has no presets. {nearest_name(method, _METHODS)}")
    found = {preset.task: preset for preset in PRESETS if preset.method == method}
    if name not in found:
        raise UsageError(
            f"preset '{name}': {method} has none of that name. {nearest_name(name, list(found))}"
        )
    return found[name]
