"""Rows of known files, and the decisions about a centre that cannot be right."""

from __future__ import annotations

import ismrmrd.hdf5
import numpy as np
import pytest

from lowfield_recon.scan.placement import grid_size, place_readouts
from lowfield_recon.scan.records import ScanHeader

HEAD = ismrmrd.hdf5.acquisition_header_dtype


def heads_of(steps, *, n=16, center=None, user=0, counter="kspace_encode_step_1", flags=0):
    heads = np.zeros(len(steps), dtype=HEAD)
    heads["number_of_samples"] = n
    heads["center_sample"] = n // 2 if center is None else center
    heads["idx"][counter] = steps
    heads["idx"]["user"][:, 5] = user
    heads["flags"] = flags
    return heads


def header_of(n_y, limits, *, n_z=1, n_x=16, vendor=None):
    return ScanHeader(
        encoded_matrix=(n_z, n_y, n_x),
        recon_matrix=(n_z, n_y, n_x),
        limits={"kspace_encoding_step_1": limits},
        vendor=vendor,
    )


def no_probe(counter, value):
    raise AssertionError(f"nothing is in doubt about {counter} {value}")


@pytest.mark.parametrize(
    ("n_y", "limits", "first", "last"),
    [
        (140, (0, 83, 28), 42, 125),
        (144, (0, 105, 54), 18, 123),
        (256, (0, 195, 97), 31, 226),
        (128, (0, 127, 64), 0, 127),
        (15, (0, 14, 7), 0, 14),
    ],
)
def test_rows_of_known_files(n_y, limits, first, last):
    heads = heads_of(range(limits[1] + 1))
    placed = place_readouts(heads, header_of(n_y, limits), no_probe, is_volume=False)
    assert placed.shape == (1, n_y, 16)
    assert (placed.row[0], placed.row[-1]) == (first, last)
    assert not placed.repairs


def test_undersampled_counters_are_not_renumbered():
    placed = place_readouts(
        heads_of([30, 33, 36]), header_of(64, (0, 63, 32)), no_probe, is_volume=False
    )
    assert placed.row.tolist() == [30, 33, 36]


def test_own_centre_counter_of_the_readouts_wins():
    heads = heads_of(range(106), user=54)
    placed = place_readouts(
        heads, header_of(144, (0, 105, 72), vendor="SIEMENS"), no_probe, is_volume=False
    )
    assert placed.row[0] == 18
    assert [(r.code, r.old, r.new) for r in placed.repairs] == [("k-space-centre", "72", "54")]


def test_centre_counter_means_nothing_for_other_vendors():
    heads = heads_of(range(64), user=54)
    placed = place_readouts(
        heads, header_of(64, (0, 63, 32), vendor="OSI2"), no_probe, is_volume=False
    )
    assert placed.row[0] == 0


@pytest.mark.parametrize(("strongest", "expected"), [(32, 32), (20, 20)])
def test_energy_decides_between_two_centres(strongest, expected):
    """Centre 20 of 64 puts rows outside; it stays when the energy says so, and the grid grows."""
    placed = place_readouts(
        heads_of(range(64)),
        header_of(64, (0, 63, 20)),
        lambda _, value: 100.0 if value == strongest else 1.0,
        is_volume=False,
    )
    centre_row = placed.row[expected]
    assert centre_row == placed.shape[1] // 2
    assert (placed.shape[1] == 64) == (expected == 32)
    assert placed.row.min() >= 0
    assert placed.row.max() < placed.shape[1]


def test_readout_columns_and_reversal():
    heads = heads_of([0, 1], n=16, center=6, flags=[0, 1 << 21])
    placed = place_readouts(heads, header_of(2, (0, 1, 1), n_x=16), no_probe, is_volume=False)
    # forward: offsets -6..9, reversed: centre 16 - 1 - 6 = 9, offsets -9..6
    assert placed.shape[2] == 19
    assert placed.column.tolist() == [19 // 2 - 6, 19 // 2 - 9]
    assert placed.is_reversed.tolist() == [False, True]


@pytest.mark.parametrize("low", range(0, -9, -1))
@pytest.mark.parametrize("high", range(9))
def test_grid_size_is_the_smallest_that_holds_all(low, high):
    def holds(m):
        return -(m // 2) <= low and high <= m - 1 - m // 2

    size = grid_size(low, high, 5)
    assert size >= 5
    assert holds(size)
    assert size == 5 or not holds(size - 1)
