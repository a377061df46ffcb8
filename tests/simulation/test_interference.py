"""Interference: which column, how much energy, and what coils and readouts share."""

from __future__ import annotations

import pytest
import torch

from lowfield_recon.operators.fourier import centred_ifft
from lowfield_recon.simulation.interference import interference


def draw(frequencies: list[float], amplitude: float = 1.0, n: int = 64) -> torch.Tensor:
    return interference(
        (2, 3, 4, 200, n),
        frequencies_hz=frequencies,
        amplitude=amplitude,
        dwell_time_s=1e-4,
        generator=torch.Generator().manual_seed(0),
    )


@pytest.mark.parametrize("n", [64, 65])
@pytest.mark.parametrize("column", [-20, 0, 7])
def test_energy_stands_in_the_column_of_its_frequency(n: int, column: int) -> None:
    lines = centred_ifft(draw([column / (n * 1e-4)], n=n), (-1,))
    energy = lines.abs().square().sum(dim=(0, 1, 2, 3))
    assert int(energy.argmax()) == n // 2 + column
    assert float(energy.max() / energy.sum()) == pytest.approx(1, abs=1e-6)


def test_the_amplitude_is_the_root_mean_square_of_one_sample() -> None:
    found = draw([1000.0], amplitude=0.3).abs().square().mean().sqrt()
    # 1600 readouts are drawn, so the mean square has a relative deviation of 2.5 %
    assert float(found) == pytest.approx(0.3, rel=0.04)
    two = draw([1000.0, -3000.0], amplitude=0.3).abs().square().mean()
    assert float(two) == pytest.approx(2 * 0.09, rel=0.07)


def test_coils_share_a_source_and_readouts_do_not() -> None:
    i = draw([1234.0])
    coupling = i[:, 1:] / i[:, :1]
    torch.testing.assert_close(coupling, coupling[:1, :, :1, :1, :1].expand_as(coupling))
    assert float((coupling.abs() - 1).abs().max()) < 1e-4
    first = i[:, 0, :, :, 32].flatten()
    assert float((first[1:] * first[:-1].conj()).mean().abs()) < 0.1


def test_no_frequency_is_no_interference() -> None:
    assert not draw([]).any()
