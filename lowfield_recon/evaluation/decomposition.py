"""The two parts that `ncpr` and `cpr` see in an image, and the atoms that make the sparse one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lowfield_recon.errors import UsageError
from lowfield_recon.evaluation.atoms import atom_mosaic
from lowfield_recon.files import atomic_path
from lowfield_recon.learning.patch_prior import load_patch_prior
from lowfield_recon.problem import InverseProblem, Reconstruction
from lowfield_recon.reconstructors.patch_grid import PatchGrid
from lowfield_recon.solvers.patch_coefficients import PatchCoefficients
from lowfield_recon.solvers.patch_regularizer import PatchRegularizer
from lowfield_recon.solvers.patch_subspace import PatchSubspace

N_SHOWN = 64
"""Atoms that are drawn."""

_COLUMNS = 16
_CODING_STEPS = 60
_QUANTILE = 0.999
_WIDTH = 3.4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decomposition:
    """An image as the sum of a smooth and a sparse part, in real numbers, with the atoms."""

    image: torch.Tensor
    """Real, `(channels, y, x)`; of a complex image the modulus."""

    smooth: torch.Tensor
    """Real, like `image`; of a complex image what lies along the phase of the whole."""

    sparse: torch.Tensor
    """Real, `image - smooth`."""

    dictionary: torch.Tensor
    """Atoms, `(K, ky, kx)`."""

    shares: torch.Tensor
    """Part of the energy of all codes that an atom carries, `(K,)`, sum 1 (0 without codes)."""

    aspect: float = 1.0
    """Physical height over width of a pixel."""

    @property
    def order(self) -> list[int]:
        """Atoms, those with the largest share first."""
        return [int(k) for k in self.shares.argsort(descending=True, stable=True)]

    @property
    def grey_scale(self) -> float:
        """Value of the sparse part that is drawn white, its negative black."""
        return _high_quantile(self.sparse.abs()) or 1.0

    def figures(self) -> dict[str, Any]:
        """Return what the JSON beside a picture says about it."""
        order = self.order[:N_SHOWN]
        energy = float(self.image.double().square().sum())
        sparse = float(self.sparse.double().square().sum())
        return {
            "smooth_range": [float(self.smooth.min()), float(self.smooth.max())],
            "sparse_range": [float(self.sparse.min()), float(self.sparse.max())],
            "sparse_grey_scale": self.grey_scale,
            "sparse_energy_over_image_energy": sparse / energy if energy else 0.0,
            "atoms": len(self.shares),
            "atoms_shown": order,
            "shares_of_atoms_shown": [round(float(self.shares[k]), 6) for k in order],
        }


def decomposed(problem: InverseProblem, result: Reconstruction) -> Decomposition:
    r"""Take the parts out of a result, and find what each atom contributes.

    The smooth part is the solution without any sparse part, ``(A^H A + beta h) x = A^H y``; the
    sparse part is the rest. The codes of the shares minimise the objective at the image found.

    Parameters
    ----------
    problem
        What was solved.
    result
        What `ncpr` or `cpr` returned with `keep_parts`.

    Returns
    -------
        The parts of the first image's middle plane.

    Raises
    ------
    UsageError
        If the result holds no parts.

    Examples
    --------
    >>> from lowfield_recon import reconstruct
    >>> from lowfield_recon.operators import identity_operator
    >>> y = torch.rand(1, 1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> noisy = InverseProblem(data=y, operator=identity_operator(), image_domain="real")
    >>> parts = decomposed(noisy, reconstruct(noisy, "cpr", iterations=9, keep_parts=True))
    >>> parts.image.shape, len(parts.shares), round(float(parts.shares.sum()), 3)
    (torch.Size([1, 16, 16]), 200, 1.0)
    """
    diagnostics = result.diagnostics
    if "smooth_part" not in diagnostics:
        raise UsageError(
            f"{result.method}: the result holds no parts; expected those of ncpr or cpr with "
            "keep_parts=True."
        )
    image, smooth = _plane(result.image), _plane(diagnostics["smooth_part"])
    if image.is_complex():
        modulus = image.abs()
        phase = torch.where(modulus > 0, image / modulus.clamp(min=1e-38), torch.ones_like(image))
        smooth, shown = (phase.conj() * smooth).real, modulus
    else:
        shown = image
    regularizer = _regularizer(result)
    geometry = problem.geometry
    return Decomposition(
        image=shown,
        smooth=smooth,
        sparse=shown - smooth,
        dictionary=regularizer.dictionary,
        shares=atom_shares(image / float(result.settings["scale"]), regularizer),
        aspect=1.0 if geometry is None else geometry.voxel_size_m[1] / geometry.voxel_size_m[2],
    )


def atom_shares(image: torch.Tensor, regularizer: PatchRegularizer) -> torch.Tensor:
    r"""Return which part of ``sum_k |a_k|^2`` each atom carries, a the codes of all patches.

    The codes minimise ``sum_k beta/2 ||U P_k x - C a_k||^2 + R(a_k)`` for the given image; the
    atoms of a dictionary share one norm.

    Parameters
    ----------
    image
        Real or complex, `(planes, y, x)`, divided by what counts as 1.
    regularizer
        Atoms, scales and potential.

    Returns
    -------
        Shares, `(K,)`, sum 1; zeros where there are no codes.

    Raises
    ------
    DataError
        If the image is smaller than a patch.
    """
    grid = PatchGrid.around((1, *image.shape), regularizer)
    planes = grid.padded(image)
    subspace = PatchSubspace(regularizer.basis, grid.size, block=regularizer.potential.block)
    energies = regularizer.scales.new_zeros(len(regularizer.scales), dtype=torch.float64)
    for plane in planes:
        coefficients = PatchCoefficients(regularizer, *subspace.shape(plane[None]))
        for k in range(_CODING_STEPS):
            coefficients.aim(subspace.analysed(plane[None]), momentum=k / (k + 3))
            coefficients.step()
        for _, _, codes in coefficients.maps():
            energies += codes.square().sum(dim=(1, 2), dtype=torch.float64)
    total = float(energies.sum())
    return energies / total if total else energies


def write_decomposition(path: Path, parts: Decomposition, *, title: str) -> Path:
    """Draw image, smooth part and sparse part, and below them the atoms that are used most.

    Parameters
    ----------
    path
        PNG to write.
    parts
        What is drawn.
    title
        Head of the picture.

    Returns
    -------
        The path.

    Raises
    ------
    DataError
        If the folder is missing.
    """
    rows, columns = parts.image.shape[-2:]
    height = min(_WIDTH * parts.aspect * rows / columns, 2.5 * _WIDTH)
    atoms = 0.5 + 2 * _WIDTH * 0.98 * math.ceil(min(N_SHOWN, len(parts.shares)) / _COLUMNS) / 16
    figure = Figure(figsize=(3 * _WIDTH, 0.95 + height + atoms), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=11, fontweight="bold", x=0.01, ha="left")
    ratios = (height + 0.45, atoms)
    upper, lower = figure.subfigures(2, 1, height_ratios=ratios, squeeze=False)[:, 0]
    _draw_parts(upper, parts)
    _draw_atoms(lower, parts)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=130, facecolor="white", format="png")
    return path


def _draw_parts(figure: Any, parts: Decomposition) -> None:
    white = _white(parts.image)
    peak = parts.grey_scale
    panels = (
        ("image", parts.image / white, f"black 0, white {white:.3g}"),
        ("smooth part", parts.smooth / white, f"black 0, white {white:.3g}"),
        (
            "sparse part",
            0.5 + 0.5 * parts.sparse / peak,
            f"grey 0, black −{peak:.3g}, white {peak:.3g}",
        ),
    )
    for axis, (name, values, scale) in zip(figure.subplots(1, 3), panels, strict=True):
        axis.imshow(
            _pixels(values), cmap="gray", vmin=0, vmax=1, aspect=parts.aspect, interpolation="none"
        )
        axis.set_title(name, fontsize=10)
        _note(axis, scale)


def _draw_atoms(figure: Any, parts: Decomposition) -> None:
    order = parts.order
    shown = order[:N_SHOWN]
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    mosaic = atom_mosaic(parts.dictionary[shown].detach().cpu(), zoom=3, columns=_COLUMNS)
    left.imshow(mosaic, cmap="gray", vmin=0, vmax=255, interpolation="none")
    left.set_title(
        f"the {len(shown)} atoms used most, of {len(order)}, the first at top left", fontsize=9
    )
    carried = 100 * float(parts.shares[shown].sum())
    first = 100 * float(parts.shares[order[0]])
    _note(
        left,
        f"they carry {carried:.0f} % of the energy of all codes, the first alone {first:.1f} %",
    )
    cumulated = 100 * parts.shares[order].cumsum(0)
    right.plot(range(1, len(order) + 1), cumulated.numpy(), color="black", linewidth=1.2)
    right.set_xlim(1, len(order))
    right.set_ylim(0, 102)
    right.tick_params(labelsize=7)
    right.set_xlabel("atoms, those used most first", fontsize=8)
    right.set_ylabel("share of the codes' energy [%]", fontsize=8)
    right.grid(alpha=0.3)


def _note(axis: Axes, text: str) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_xlabel(text, fontsize=8)
    for side in axis.spines.values():
        side.set_visible(False)


def _pixels(values: torch.Tensor) -> NDArray[numpy.floating]:
    """Return `(y, x)` of one channel and `(y, x, 3)` of three, from 0 to 1."""
    clipped = values.detach().float().clamp(0, 1).cpu().numpy()
    return clipped[0] if len(clipped) == 1 else numpy.moveaxis(clipped, 0, -1)


def _white(image: torch.Tensor) -> float:
    """Return 1 for photographs on 0..1, else the value that few pixels exceed."""
    high = _high_quantile(image)
    return 1.0 if 0.25 <= high <= 1.25 else high if high > 0 else 1.0


def _high_quantile(values: torch.Tensor) -> float:
    rank = max(1, math.ceil(_QUANTILE * values.numel()))
    return float(values.flatten().kthvalue(rank).values)


def _plane(image: torch.Tensor) -> torch.Tensor:
    """Return the middle plane of the first image, `(channels, y, x)`, on the CPU."""
    first = image.reshape(-1, *image.shape[-4:])[0].detach().cpu()
    return first[:, first.shape[-3] // 2]


def _regularizer(result: Reconstruction) -> PatchRegularizer:
    settings: Mapping[str, Any] = result.settings
    prior = load_patch_prior(settings["weights"], method=result.method)
    return prior.regularizer(
        beta=settings["beta"],
        base_scale=settings["regularization_weight"],
        dtype=result.image.real.dtype,
    )
