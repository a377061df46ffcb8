"""What a network decided about a dictionary: atoms beside their sparsity-level maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy
import torch
from matplotlib import colormaps
from numpy.typing import NDArray

from lowfield_recon.dictionaries import Dictionary, load_dictionary
from lowfield_recon.evaluation.atoms import atom_mosaic
from lowfield_recon.evaluation.demo import MethodOutcome
from lowfield_recon.evaluation.report_gallery import ColourScale, Exhibit, Gallery, Picture

N_SHOWN = 6
"""Filters of a dictionary that are shown with their maps."""

_COLOURS = "viridis"
_BRIGHTEST_QUANTILE = 0.999
_ZOOM = 12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Decision:
    """The maps of one dictionary for one image."""

    label: str
    dictionary: Dictionary
    levels: torch.Tensor
    """Lambda over the standard deviation of the noise, `(K, y, x)`."""

    shown: tuple[int, ...]
    """Filters with the smallest mean level, smallest first."""


def map_gallery(
    methods: Sequence[MethodOutcome], i: int, *, aspect: float, quarter_turns: int = 0
) -> Gallery | None:
    r"""Show for one image which filters the networks made easy to use, and where.

    The maps of all methods are shown as ``Lambda_k / sigma`` on one scale of colours.

    Parameters
    ----------
    methods
        Outcomes; those without maps in their diagnostics are passed over.
    i
        Which of their images.
    aspect
        Physical width over physical height of the image as it is shown.
    quarter_turns
        Anticlockwise quarter turns of images, and so of atoms.

    Returns
    -------
        The gallery, or None where no method has maps.
    """
    decisions = [found for done in methods if (found := _decision(done, i)) is not None]
    if not decisions:
        return None
    levels = torch.cat([found.levels[list(found.shown)].flatten() for found in decisions])
    peak = _rounded_up(float(numpy.quantile(levels.numpy(), _BRIGHTEST_QUANTILE)))
    return Gallery(
        title="What the network decided",
        text=(
            "Every filter k of a dictionary has a map Λ_k, which weighs its codes at each pixel in "
            "½‖A(x_low + Ds) − y‖² + Σ_k‖Λ_k s_k‖₁. The colour shows Λ_k over the standard "
            "deviation σ of the noise: where it is dark the filter is easy to use, where it is "
            f"bright only what stands far above the noise is kept. Shown are the {N_SHOWN} filters "
            "with the smallest mean of Λ_k/σ, each above its map, after a picture of all filters; "
            "in filters grey is zero, and each has its own contrast."
            + (" Filters and maps are turned like the images." if quarter_turns else "")
        ),
        scale=ColourScale(
            low="Λ_k/σ = 0",
            high=f"{peak:g} and above",
            colours=_coloured(numpy.linspace(0, 1, 256)),
        ),
        rows=tuple(_row(found, peak, aspect, quarter_turns) for found in decisions),
    )


def _decision(done: MethodOutcome, i: int) -> _Decision | None:
    diagnostics = done.results[i].diagnostics
    maps, noise = diagnostics.get("maps"), diagnostics.get("noise_std")
    if maps is None or not noise:
        return None
    levels = (maps[:, maps.shape[1] // 2] / noise).detach().float().cpu()
    order = levels.mean(dim=(1, 2)).argsort(stable=True)
    return _Decision(
        label=done.label,
        dictionary=load_dictionary(done.dictionary),
        levels=levels,
        shown=tuple(int(k) for k in order[:N_SHOWN]),
    )


def _row(
    found: _Decision, peak: float, aspect: float, quarter_turns: int
) -> tuple[str, tuple[Exhibit, ...]]:
    dictionary = found.dictionary
    kernels = torch.rot90(dictionary.kernels.detach().cpu(), quarter_turns, dims=(-2, -1))
    maps = torch.rot90(found.levels, quarter_turns, dims=(-2, -1))
    pixel = aspect * maps.shape[-2] / maps.shape[-1]
    means = found.levels.mean(dim=(1, 2))
    ky, kx = dictionary.kernel_size
    everything = Exhibit(
        title="all filters",
        caption=f"{dictionary.n_kernels} of {ky}×{kx} pixels; means {means.min():.2f} to "
        f"{means.max():.2f}",
        pictures=(_atoms(kernels, f"All filters of {dictionary.name}", pixel, zoom=6),),
        is_wide=True,
    )
    singles = [
        Exhibit(
            title=f"filter {k}",
            caption=f"mean {means[k]:.2f}, {maps[k].min():.2f} to {maps[k].max():.2f}",
            pictures=(
                _atoms(kernels[k : k + 1], f"Filter {k} of {dictionary.name}", pixel, zoom=_ZOOM),
                Picture(
                    pixels=_coloured(maps[k].numpy() / peak),
                    description=f"Map of filter {k} of {dictionary.name}, with {found.label}",
                    aspect=aspect,
                ),
            ),
        )
        for k in found.shown
    ]
    return f"{found.label}: dictionary {dictionary.name}", (everything, *singles)


def _atoms(kernels: torch.Tensor, description: str, pixel: float, *, zoom: int) -> Picture:
    pixels = atom_mosaic(kernels, zoom=zoom)
    aspect = pixel * pixels.shape[1] / pixels.shape[0]
    return Picture(pixels=pixels, description=description, aspect=aspect)


def _coloured(values: NDArray[numpy.floating]) -> NDArray[numpy.uint8]:
    """Return the colours of values from 0 to 1; what lies above is shown as 1."""
    colours: NDArray[numpy.uint8] = colormaps[_COLOURS](values, bytes=True)[..., :3]
    return colours


def _rounded_up(value: float) -> float:
    """Return the next number of two digits, so that a scale ends at one that is easily said."""
    if value <= 0:
        return 1.0
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(math.ceil(value / unit - 1e-9) * unit)
