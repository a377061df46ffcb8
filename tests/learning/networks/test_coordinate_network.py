"""SIREN and WIRE against their formulas."""

from __future__ import annotations

import pytest
import torch

from lowfield_recon.errors import UsageError
from lowfield_recon.learning.networks import coordinate_network
from lowfield_recon.learning.networks.coordinate_network import (
    CoordinateNetwork,
    CoordinateNetworkSettings,
    NetworkKind,
    Siren,
    pixel_coordinates,
)
from lowfield_recon.learning.networks.coordinate_network_choice import make_coordinate_network
from lowfield_recon.learning.networks.wire import Wire

C = pixel_coordinates((6, 5), dtype=torch.float64)


def network(
    kind: NetworkKind, *, is_complex: bool = False, seed: int = 0, features: int = 8
) -> CoordinateNetwork:
    made = make_coordinate_network(
        CoordinateNetworkSettings(kind=kind, features=features, omega=7.0, sigma=2.0),
        outputs=2,
        is_complex=is_complex,
        generator=torch.Generator().manual_seed(seed),
        dtype=torch.float64,
    )
    generator = torch.Generator().manual_seed(99)
    with torch.no_grad():
        for parameter in made.parameters():
            if not bool(parameter.any()):
                parameter.copy_(torch.randn(parameter.shape, generator=generator).double())
    return made


def test_coordinates_are_pixel_centres_in_reading_order() -> None:
    expected = [[-0.5, -2 / 3], [-0.5, 0], [-0.5, 2 / 3], [0.5, -2 / 3], [0.5, 0], [0.5, 2 / 3]]
    torch.testing.assert_close(pixel_coordinates((2, 3)), torch.tensor(expected))


def test_siren_is_its_formula() -> None:
    made = network("siren")
    assert isinstance(made, Siren)
    h = torch.sin(7.0 * (C @ made.weights[0] + made.offsets[0]))
    for weight, offset in zip(made.weights[1:], made.offsets[1:], strict=True):
        h = torch.sin(30.0 * (h @ weight + offset))
    torch.testing.assert_close(made(C), h @ made.head + made.head_offset)


def test_wire_is_its_formula() -> None:
    made = network("wire", is_complex=True)
    assert isinstance(made, Wire)

    def gabor(z: torch.Tensor) -> torch.Tensor:
        return torch.exp(1j * 7.0 * z - (2.0 * z).abs().square())

    h = gabor((C @ made.first + made.first_offset).to(torch.complex128))
    for weight, offset in zip(made.weights, made.offsets, strict=True):
        h = gabor(h @ torch.view_as_complex(weight) + torch.view_as_complex(offset))
    head = torch.view_as_complex(made.head)
    torch.testing.assert_close(made(C), h @ head + torch.view_as_complex(made.head_offset))


def test_wire_of_a_real_image_is_the_real_part() -> None:
    torch.testing.assert_close(network("wire")(C), network("wire", is_complex=True)(C).real)


@pytest.mark.parametrize("kind", ["siren", "wire"])
@pytest.mark.parametrize("is_complex", [False, True])
def test_the_output_is_zero_at_first_and_its_dtype_that_of_the_image(
    kind: NetworkKind, is_complex: bool
) -> None:
    made = make_coordinate_network(
        CoordinateNetworkSettings(kind=kind, features=6),
        outputs=3,
        is_complex=is_complex,
        generator=torch.Generator().manual_seed(0),
    )
    values = made(pixel_coordinates((4, 4)))
    assert values.shape == (16, 3)
    assert values.dtype == (torch.complex64 if is_complex else torch.float32)
    assert not bool(values.any())


@pytest.mark.parametrize("kind", ["siren", "wire"])
def test_weights_depend_on_the_generator_alone(kind: NetworkKind) -> None:
    torch.manual_seed(1)
    first = network(kind, seed=3)(C)
    torch.manual_seed(2)
    assert torch.equal(first, network(kind, seed=3)(C))
    assert not torch.equal(first, network(kind, seed=4)(C))


@pytest.mark.parametrize("kind", ["siren", "wire"])
def test_blocks_of_rows_change_nothing(kind: NetworkKind, monkeypatch: pytest.MonkeyPatch) -> None:
    made = network(kind)
    whole, features = made(C), made.features(C)
    monkeypatch.setattr(coordinate_network, "_ROWS_AT_ONCE", 7)
    torch.testing.assert_close(made(C), whole)
    torch.testing.assert_close(made.features(C), features)
    assert not features.is_complex()


def test_initial_weights_have_the_published_bounds() -> None:
    made = Siren(
        CoordinateNetworkSettings(features=96, hidden_omega=30.0),
        outputs=1, is_complex=False, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    hidden = (6 / 96) ** 0.5 / 30
    assert 0.48 < float(made.weights[0].detach().abs().max()) <= 0.5
    assert 0.98 * hidden < float(made.weights[1].detach().abs().max()) <= hidden


def test_half_precision_is_near_and_wire_refuses_it() -> None:
    def siren(half: bool) -> torch.Tensor:
        made = Siren(
            CoordinateNetworkSettings(features=32), outputs=1, is_complex=False,
            generator=torch.Generator().manual_seed(0), half_precision=half,
        )  # fmt: skip
        return made.features(pixel_coordinates((8, 8))).detach()

    difference = (siren(True) - siren(False)).abs().max()
    assert 0 < float(difference) < 0.05
    with pytest.raises(UsageError, match="precision: a wire computes with complex numbers"):
        make_coordinate_network(
            CoordinateNetworkSettings(kind="wire"), outputs=1, is_complex=False,
            generator=torch.Generator(), half_precision=True,
        )  # fmt: skip
