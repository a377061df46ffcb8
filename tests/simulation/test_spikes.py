"""Spikes: their number and size, what they share between coils and levels."""

from __future__ import annotations

import pytest
import torch

from lowfield_recon.simulation import Recipe, simulate_kspace
from lowfield_recon.simulation.fields import stream
from lowfield_recon.simulation.spikes import spikes


def test_their_number_and_size_are_as_stated() -> None:
    found = spikes((1, 1, 1, 200, 300), fraction=0.1, amplitude=3.0, generator=stream(0, "spikes"))
    hit = found != 0
    # 6000 of 60000 expected, with a standard deviation of 73; their mean square within 1.3 %
    assert int(hit.sum()) == pytest.approx(6000, abs=300)
    assert float(found[hit].abs().square().mean().sqrt()) == pytest.approx(3.0, rel=0.03)


def test_a_burst_hits_all_coils_with_a_fixed_phase() -> None:
    found = spikes((2, 3, 1, 16, 16), fraction=0.2, amplitude=1.0, generator=stream(1, "spikes"))
    ratio = found[:, 1] / found[:, 0]
    hit = found[:, 0] != 0
    assert torch.equal(hit, found[:, 2] != 0)
    assert not torch.equal(hit[0], hit[1])
    torch.testing.assert_close(ratio[hit], ratio[hit][0].expand(int(hit.sum())))
    assert float(ratio[hit][0].abs()) == pytest.approx(1, abs=1e-5)


def test_more_spikes_keep_the_fewer_ones() -> None:
    few, many = (
        spikes((1, 1, 1, 64, 64), fraction=p, amplitude=1.0, generator=stream(2, "spikes"))
        for p in (0.02, 0.2)
    )
    assert torch.equal(few[few != 0], many[few != 0])
    assert int((many != 0).sum()) > 5 * int((few != 0).sum()) > 0


def test_a_scan_has_them_at_sampled_points_relative_to_its_largest_sample() -> None:
    x = torch.rand(2, 1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    recipe = Recipe(window=0.5, spike_fraction=0.2, spike_amplitude=0.5, seed=7, n_coils=2)
    scan = simulate_kspace(x, recipe, together=False)
    added = scan.kspace - scan.signal
    assert not added[~scan.mask.expand_as(added)].any()
    largest = scan.signal.abs().amax(dim=(1, 2, 3, 4), keepdim=True)
    bursts = spikes(scan.signal.shape, fraction=0.2, amplitude=1.0, generator=stream(7, "spikes"))
    expected = 0.5 * largest * bursts * scan.mask
    torch.testing.assert_close(added, expected, atol=1e-5, rtol=1e-5)
    assert float(largest[0] / largest[1]) != 1
