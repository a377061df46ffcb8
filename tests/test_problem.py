"""What an InverseProblem accepts, works out and refuses."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from lowfield_recon import InverseProblem
from lowfield_recon.errors import DataError
from lowfield_recon.operators import (
    blur_operator,
    downsample_operator,
    identity_operator,
    kspace_operator,
)

KSPACE = torch.ones(1, 2, 1, 4, 6, dtype=torch.complex64)
MAPS = torch.ones(1, 2, 1, 4, 6, dtype=torch.complex64)


def test_the_image_shape_follows_from_the_operator() -> None:
    scan = InverseProblem(data=KSPACE, operator=kspace_operator(coil_maps=MAPS))
    assert scan.shape == (1, 1, 1, 4, 6)
    blur = blur_operator(torch.ones(3, 3), image_shape=(8, 10))
    photo = InverseProblem(
        data=torch.ones(1, 3, 1, 4, 5),
        operator=downsample_operator(2, image_shape=(8, 10)) @ blur,
        image_domain="real",
    )
    assert photo.shape == (1, 3, 1, 8, 10)
    assert photo.image_dtype == torch.float32
    assert scan.image_dtype == torch.complex64


def test_operators_of_other_packages_are_asked_by_applying_them() -> None:
    from mrpro.operators import FastFourierOp

    problem = InverseProblem(data=KSPACE, operator=FastFourierOp(dim=(-2, -1)))
    assert problem.shape == (1, 2, 1, 4, 6)


def test_it_is_frozen() -> None:
    problem = InverseProblem(data=KSPACE, operator=identity_operator())
    with pytest.raises(dataclasses.FrozenInstanceError):
        problem.noise_std = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": KSPACE * float("nan")}, "48 of 48 values are NaN or infinite"),
        ({"data": torch.ones(4, 6)}, r"got shape \(4, 6\)"),
        ({"data": torch.ones(1, 2, 1, 4, 6, dtype=torch.int32)}, "int32"),
        ({"data": torch.ones(1, 0, 1, 4, 6)}, "holds no values"),
        ({"data": [1.0]}, "torch tensor"),
        ({"data": torch.ones(1, 3, 1, 4, 6)}, r"2, 1, 4, 6.*\(1, 3, 1, 4, 6\)|\(\*other, 2"),
        ({"operator": lambda x: x}, "LinearOperator"),
        ({"noise_std": -1.0}, "noise_std"),
        ({"noise_std": float("inf")}, "noise_std"),
        ({"image_domain": "quaternion"}, "image_domain"),
        ({"image_shape": (1, 1, 1, 4, 7)}, r"\(1, 1, 1, 4, 7\).*\(1, 1, 1, 4, 6\)"),
        ({"reference": torch.ones(1, 1, 1, 4, 7)}, r"\(1, 1, 1, 4, 6\).*\(1, 1, 1, 4, 7\)"),
        ({"reference": torch.full((1, 1, 1, 4, 6), torch.inf)}, "reference"),
    ],
)
def test_what_does_not_fit_is_refused_with_both_sides(
    change: dict[str, object], words: str
) -> None:
    arguments = {"data": KSPACE, "operator": kspace_operator(coil_maps=MAPS), **change}
    with pytest.raises(DataError, match=words) as raised:
        InverseProblem(**arguments)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)


def test_a_foreign_operator_that_does_not_fit_is_named() -> None:
    from mrpro.operators import FastFourierOp

    operator = FastFourierOp(dim=(-2, -1), recon_matrix=(4, 4), encoding_matrix=(5, 5))
    with pytest.raises(DataError, match="FastFourierOp"):
        InverseProblem(data=torch.ones(1, 1, 1, 4, 6, dtype=torch.complex64), operator=operator)
