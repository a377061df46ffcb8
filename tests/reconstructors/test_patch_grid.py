"""The grid of the patches: odd sides, margins, and images that are too small."""

from __future__ import annotations

import pytest
import torch

from lowfield_recon import InverseProblem, reconstruct
from lowfield_recon.errors import DataError
from lowfield_recon.learning.patch_prior import load_patch_prior
from lowfield_recon.operators import identity_operator, kspace_operator
from lowfield_recon.reconstructors.patch_grid import PatchGrid

SHAPE = (2, 1, 1, 15, 18)


@pytest.fixture(scope="module")
def prior():
    """Return what loads a published model."""
    return lambda method: load_patch_prior(f"{method}_sigma25", method=method).regularizer()


def draw(*shape: int, dtype: torch.dtype = torch.complex128, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize(
    ("method", "shape", "margin", "size", "note"),
    [
        ("ncpr", (1, 1, 1, 15, 17), 0, (15, 17), ""),
        ("ncpr", (1, 1, 1, 15, 17), 6, (27, 29), "12 rows and 12 columns added, a margin of 6"),
        ("cpr", (1, 1, 1, 16, 18), 0, (16, 18), ""),
        ("cpr", (1, 1, 1, 15, 18), 0, (16, 18), "1 row and 0 columns added, since groups of 2 x 2"),
        ("cpr", (1, 1, 1, 15, 17), 0, (16, 18), "1 row and 1 column added, since"),
        ("cpr", (1, 1, 1, 15, 18), 5, (26, 28), "11 rows and 10 columns added, a margin of 5"),
        ("cpr", (1, 1, 1, 13, 13), 0, (14, 14), "1 row and 1 column added"),
    ],
)
def test_sizes_and_notes(prior, method, shape, margin, size, note):
    grid = PatchGrid.around(shape, prior(method), margin=margin)
    assert grid.size == size
    assert grid.note.startswith(note)
    assert bool(grid.note) == bool(note)
    assert grid.is_plain == (not note)


@pytest.mark.parametrize(("method", "margin"), [("cpr", 0), ("cpr", 3), ("ncpr", 4), ("ncpr", 0)])
def test_cropping_undoes_padding_and_is_its_adjoint(prior, method, margin):
    grid = PatchGrid.around(SHAPE, prior(method), margin=margin)
    image, planes = draw(*SHAPE), draw(2, *grid.size, seed=1)
    padded = grid.padded(image)
    assert padded.shape == planes.shape
    assert torch.equal(grid.cropped(padded), image)
    assert float(padded.norm()) == pytest.approx(float(image.norm()), rel=1e-14)
    left = (padded.conj() * planes).sum()
    right = (image.conj() * grid.cropped(planes)).sum()
    assert abs(complex(left - right)) <= 1e-12 * abs(complex(left))
    # The margin lies on all sides.
    if margin:
        assert not padded[:, :margin].any()
        assert not padded[..., :margin].any()
        assert padded[:, margin, margin].abs().min() > 0


def test_a_gram_on_the_grid_knows_nothing_of_the_margin(prior):
    grid = PatchGrid.around(SHAPE, prior("cpr"), margin=2)
    planes = draw(2, *grid.size)
    found = grid.gram(lambda image: 2j * image)(planes)
    assert torch.equal(grid.cropped(found), 2j * grid.cropped(planes))
    outside = torch.ones(grid.size, dtype=torch.bool)
    outside[2:17, 2:20] = False
    assert not found[:, outside].any()


def test_the_spectrum_is_that_of_the_nearest_frequency(prior):
    grid = PatchGrid.around(SHAPE, prior("cpr"), margin=3)
    values = draw(2, 15, 18, dtype=torch.float64)
    found = grid.spectrum(values)
    share = 15 * 18 / (grid.size[0] * grid.size[1])
    ny, nx = grid.size
    for j, i in ((0, 0), (1, 2), (ny - 1, nx - 3), (ny // 2 - 1, nx - 1), (5, nx // 2 + 2)):
        row = round((j if j < ny / 2 else j - ny) / ny * 15) % 15
        column = round((i if i < nx / 2 else i - nx) / nx * 18) % 18
        expected = share * values[:, row, column]
        assert torch.allclose(found[:, j, i], expected, rtol=1e-14)
    constant = grid.spectrum(torch.ones(1, 1, 1, dtype=torch.float64))
    assert constant.shape == (1, 1, 1)
    assert float(constant) == pytest.approx(share, rel=1e-14)
    plain = PatchGrid.around(SHAPE, prior("ncpr"))
    assert plain.spectrum(values) is values


@pytest.mark.parametrize("method", ["ncpr", "cpr"])
@pytest.mark.parametrize("sides", [(12, 40), (40, 12), (1, 64)])
def test_images_smaller_than_a_patch_are_refused(prior, method, sides):
    with pytest.raises(DataError, match=f"{sides[0]} x {sides[1]} pixels: smaller than the patch"):
        PatchGrid.around((1, 1, 1, *sides), prior(method))
    problem = InverseProblem(
        data=torch.rand(1, 1, 1, *sides), operator=identity_operator(), image_domain="real"
    )
    with pytest.raises(DataError, match="Use tv or wavelet"):
        reconstruct(problem, method)


@pytest.mark.parametrize("is_complex", [False, True], ids=["real", "k-space"])
@pytest.mark.parametrize(("method", "margin"), [("cpr", 0), ("ncpr", 4), ("cpr", 3), ("ncpr", 0)])
def test_odd_sides_and_margins_go_through(method, margin, is_complex):
    generator = torch.Generator().manual_seed(0)
    column = torch.linspace(0, 1, 17).expand(1, 1, 1, 15, 17)
    image = column + 0.05 * torch.randn(1, 1, 1, 15, 17, generator=generator)
    if is_complex:
        operator = kspace_operator(mask=torch.ones(1, 1, 1, 15, 17, dtype=torch.bool))
        (data,) = operator(image.to(torch.complex64))
        problem = InverseProblem(data=data, operator=operator, noise_std=0.07)
    else:
        problem = InverseProblem(
            data=image, operator=identity_operator(), noise_std=0.05, image_domain="real"
        )
    found = reconstruct(problem, method, margin=margin, iterations=30)
    assert found.image.shape == image.shape
    assert found.image.is_complex() == is_complex
    is_padded = margin > 0 or method == "cpr"
    assert ("padding" in found.diagnostics) == is_padded
    assert float((found.image.real - column).norm()) < 0.9 * float((image - column).norm())


def test_a_margin_keeps_opposite_edges_apart():
    """An image that is 0 on one side and 1 on the other has a step at the circular boundary."""
    generator = torch.Generator().manual_seed(0)
    ramp = torch.linspace(0, 1, 52).square().expand(1, 1, 1, 14, 52)
    noisy = ramp + 25 / 255 * torch.randn(ramp.shape, generator=generator)
    problem = InverseProblem(
        data=noisy, operator=identity_operator(), noise_std=25 / 255, image_domain="real"
    )
    far = torch.zeros_like(noisy)
    far[..., :2] = 1
    changed = InverseProblem(
        data=noisy + far, operator=identity_operator(), noise_std=25 / 255, image_domain="real"
    )

    def spread(margin: int) -> float:
        """How much of a change at the left edge reaches the right edge."""
        how = {"weights": "ncpr_sigma25", "margin": margin, "iterations": 20, "tolerance": 0.0}
        one, other = (reconstruct(p, "ncpr", **how).image for p in (problem, changed))
        return float((one - other)[..., -3:].abs().max())

    plain, apart = spread(0), spread(12)
    assert plain > 1e-3
    assert apart < 0.5 * plain, (plain, apart)
