"""The gallery of maps shows the right filters, turned like the image, on the stated scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from matplotlib import colormaps

from lowfield_recon import Dictionary, Reconstruction, load_dictionary
from lowfield_recon.evaluation.atoms import atom_mosaic
from lowfield_recon.evaluation.demo import MethodOutcome
from lowfield_recon.evaluation.map_panels import N_SHOWN, map_gallery

NOISE = 0.5
NAME = "brain_K16_k9_lam2_beta0.5"


def _maps(n: int = 16, factor: float = 1.0) -> torch.Tensor:
    """Maps `(K, 1, y, x)` whose mean is smallest for the last filter."""
    generator = torch.Generator().manual_seed(1)
    waves = torch.rand((n, 1, 10, 12), generator=generator) / 2 + 0.5
    return factor * waves * torch.linspace(2, 1, n)[:, None, None, None] ** 3


def _outcome(label: str = "first", **diagnostics: Any) -> MethodOutcome:
    result = Reconstruction(
        image=torch.ones(1, 1, 1, 10, 12), method="cdl-lambda",
        diagnostics={"noise_std": NOISE, **diagnostics},
    )  # fmt: skip
    return MethodOutcome(
        method="cdl-lambda", label=label, dictionary=NAME, results=(result,), scores=()
    )


def _viridis(levels: torch.Tensor, peak: float) -> np.ndarray:
    return (colormaps["viridis"](np.clip(levels.numpy() / peak, 0, 1))[..., :3] * 255).round()


def test_methods_without_maps_have_no_gallery():
    assert map_gallery([_outcome()], 0, aspect=1.0) is None


def test_the_filters_with_the_smallest_mean_map_are_shown_in_order():
    gallery = map_gallery([_outcome(maps=_maps())], 0, aspect=1.0)
    (_, exhibits), *others = gallery.rows
    assert not others
    assert [e.title for e in exhibits] == ["all filters", *(f"filter {15 - j}" for j in range(6))]
    level = _maps()[15, 0] / NOISE
    assert exhibits[1].caption == (
        f"mean {level.mean():.2f}, {level.min():.2f} to {level.max():.2f}"
    )


@pytest.mark.parametrize("turns", [0, 1, 3])
def test_atoms_and_maps_are_turned_like_the_image(turns: int):
    gallery = map_gallery([_outcome(maps=_maps())], 0, aspect=1.2, quarter_turns=turns)
    mosaic, shown = gallery.rows[0][1][:2]
    kernels = load_dictionary(NAME).kernels
    turned = torch.from_numpy(np.rot90(kernels.numpy(), turns, axes=(1, 2)).copy())
    assert np.array_equal(mosaic.pictures[0].pixels, atom_mosaic(turned))
    atom, map_ = shown.pictures
    assert np.array_equal(atom.pixels, atom_mosaic(turned[15:], zoom=12))
    peak = float(gallery.scale.high.split()[0])
    expected = _viridis(torch.from_numpy(np.rot90(_maps()[15, 0] / NOISE, turns).copy()), peak)
    assert np.abs(map_.pixels - expected).max() <= 1
    assert map_.aspect == 1.2
    # An atom's pixels have the shape of the image's.
    n_y, n_x = map_.pixels.shape[:2]
    assert atom.aspect == pytest.approx(1.2 * n_y / n_x)
    assert ("turned" in gallery.text) == (turns > 0)


def test_two_dictionaries_share_one_scale_that_ends_at_the_brightest_shown():
    methods = [_outcome("a", maps=_maps()), _outcome("none"), _outcome("b", maps=_maps(factor=2))]
    gallery = map_gallery(methods, 0, aspect=1.0)
    assert [label for label, _ in gallery.rows] == [f"{x}: dictionary {NAME}" for x in "ab"]
    shown = torch.cat([_maps()[-N_SHOWN:], 2 * _maps()[-N_SHOWN:]]) / NOISE
    peak = float(gallery.scale.high.split()[0])
    assert float(np.quantile(shown.numpy(), 0.999)) <= peak <= 1.1 * float(shown.max())
    for (_, exhibits), factor in zip(gallery.rows, (1, 2), strict=True):
        expected = _viridis(factor * _maps()[15, 0] / NOISE, peak)
        assert np.abs(exhibits[1].pictures[1].pixels - expected).max() <= 1
    ends = _viridis(torch.tensor([0.0, peak]), peak)
    assert np.abs(gallery.scale.colours[[0, -1]] - ends).max() <= 1


def test_a_dictionary_given_as_such_is_shown():
    done = _outcome(maps=_maps(2))
    own = Dictionary(kernels=torch.eye(3)[None].repeat(2, 1, 1) / 3**0.5, name="diagonals")
    done = MethodOutcome(
        method=done.method, label="own", dictionary=own, results=done.results, scores=()
    )
    label, exhibits = map_gallery([done], 0, aspect=1.0).rows[0]
    assert label == "own: dictionary diagonals"
    assert len(exhibits) == 3
