"""Sampling patterns: their counts, their centre, their seeds, and the block found in them."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from lowfield_recon.errors import UsageError
from lowfield_recon.prepare import calibration_width, undersampling_mask


@pytest.mark.parametrize("n", [126, 127, 256])
@pytest.mark.parametrize("acceleration", [1, 2, 3, 4, 2.5])
@pytest.mark.parametrize("lines", [0, 8, 17])
def test_random_takes_exactly_the_lines_asked_for(n: int, acceleration: float, lines: int) -> None:
    mask = undersampling_mask(
        (1, n, 64), acceleration=acceleration, calibration_lines=lines, seed=5
    )
    assert mask.shape == (1, 1, 1, n, 1)
    assert mask.dtype == torch.bool
    assert int(mask.sum()) == round(n / acceleration)
    block = mask.flatten()[n // 2 - lines // 2 :][:lines]
    assert bool(block.all())


def test_random_is_uniform_outside_the_calibration_lines() -> None:
    counts = torch.zeros(64)
    for seed in range(2000):
        mask = undersampling_mask((1, 64, 8), acceleration=4, calibration_lines=8, seed=seed)
        counts += mask.flatten()
    inside = torch.zeros(64, dtype=torch.bool)
    inside[28:36] = True
    assert bool((counts[inside] == 2000).all())
    # 8 of 56 free lines: 286 expected, standard deviation 15.7
    assert float((counts[~inside] - 2000 * 8 / 56).abs().max()) < 5 * 15.7


def test_seed_decides() -> None:
    masks = [
        undersampling_mask((1, 128, 8), acceleration=4, calibration_lines=16, seed=seed)
        for seed in (1, 1, 2)
    ]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def test_global_random_state_is_left_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    undersampling_mask((1, 128, 8), acceleration=4, calibration_lines=16, seed=1)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(("n", "r"), [(256, 3), (256, 4), (127, 2), (12, 12)])
def test_regular_takes_every_rth_through_the_centre(n: int, r: int) -> None:
    mask = undersampling_mask((1, n, 8), acceleration=r, calibration_lines=0, kind="regular")
    rows = np.flatnonzero(mask.flatten().numpy())
    assert n // 2 in rows
    assert set(np.diff(rows)) <= {r}
    assert len(rows) == len(range((n // 2) % r, n, r))


def test_volume_works_on_the_plane_of_both_phase_encodings() -> None:
    mask = undersampling_mask((32, 40, 8), acceleration=4, calibration_lines=8, seed=0)
    assert mask.shape == (1, 1, 32, 40, 1)
    assert int(mask.sum()) == 32 * 40 // 4
    assert bool(mask[0, 0, 12:20, 16:24].all())
    regular = undersampling_mask((32, 40, 8), acceleration=6, calibration_lines=0, kind="regular")
    assert sorted({int(i) for i in np.diff(np.flatnonzero(regular[0, 0].any(dim=1)[:, 0]))}) == [2]
    assert sorted({int(i) for i in np.diff(np.flatnonzero(regular[0, 0].any(dim=0)[:, 0]))}) == [3]


@pytest.mark.parametrize(
    ("shape", "settings", "message"),
    [
        ((1, 64, 8), {"acceleration": 0.5, "calibration_lines": 0}, "R >= 1"),
        ((1, 64, 8), {"acceleration": float("nan"), "calibration_lines": 0}, "R >= 1"),
        ((1, 64, 8), {"acceleration": 2, "calibration_lines": 65}, "0 to 64"),
        ((1, 64, 8), {"acceleration": 2, "calibration_lines": -1}, "0 to 64"),
        ((1, 64, 8), {"acceleration": 8, "calibration_lines": 9}, "fewer than the 9"),
        ((1, 64, 8), {"acceleration": 1000, "calibration_lines": 0}, "leaves 0 of 64 lines"),
        ((64, 8), {"acceleration": 2, "calibration_lines": 0}, "size of k-space"),
        (
            (1, 64, 8),
            {"acceleration": 2.5, "calibration_lines": 0, "kind": "regular"},
            "must be an integer",
        ),
        (
            (1, 64, 8),
            {"acceleration": 65, "calibration_lines": 0, "kind": "regular"},
            "more than the 64 lines",
        ),
        (
            (1, 64, 8),
            {"acceleration": 2, "calibration_lines": 0, "kind": "randm"},
            "Did you mean 'random'",
        ),
        (
            (1, 64, 8),
            {"acceleration": 8, "calibration_lines": 9, "kind": "poisson-disc"},
            "fewer than the 9",
        ),
        (
            (1, 64, 8),
            {"acceleration": 2, "calibration_lines": 0, "seed": "file.h5"},
            "only the masks of fastMRI are seeded",
        ),
        (
            (1, 64, 8),
            {"acceleration": 2, "calibration_lines": 0, "center_fraction": 0.1},
            "belongs to the masks of fastMRI",
        ),
    ],
)
def test_impossible_patterns(shape: tuple[int, ...], settings: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        undersampling_mask(shape, **settings)


@pytest.mark.parametrize("shape", [(1, 256, 8), (1, 127, 8), (48, 64, 8), (31, 40, 8)])
@pytest.mark.parametrize("acceleration", [1, 1.7, 3, 6])
@pytest.mark.parametrize("lines", [0, 9])
def test_poisson_disc_takes_exactly_the_encodings_asked_for(shape, acceleration, lines) -> None:
    mask = undersampling_mask(
        shape, acceleration=acceleration, calibration_lines=lines, kind="poisson-disc", seed=2
    )
    n_2, n_1, _ = shape
    assert mask.shape == (1, 1, n_2, n_1, 1)
    assert int(mask.sum()) == round(n_2 * n_1 / acceleration)
    rows, columns = min(lines, n_2), lines
    block = mask[0, 0, n_2 // 2 - rows // 2 :, n_1 // 2 - columns // 2 :][:rows, :columns]
    assert bool(block.all())


def test_every_fastmri_mask_is_the_packages_own() -> None:
    from fastmri.data.subsample import create_mask_for_mask_type

    for name, acceleration, n_1 in product(
        ("random", "equispaced", "equispaced_fraction", "magic", "magic_fraction"),
        (4, 8),
        (320, 368, 372),
    ):
        fraction = 0.32 / acceleration
        for seed in (0, 17, "file1000001.h5"):
            codes = tuple(map(ord, seed)) if isinstance(seed, str) else seed
            draw = create_mask_for_mask_type(name, [fraction], [acceleration])
            expected, n_center = draw((1, 15, n_1, 2), seed=codes)
            found = undersampling_mask(
                (1, n_1, 640),
                acceleration=acceleration,
                calibration_lines=0,
                center_fraction=fraction,
                kind="fastmri-" + name.replace("_", "-"),
                seed=seed,
            )
            np.testing.assert_array_equal(found.flatten().numpy(), expected.flatten().numpy() > 0)
            by_lines = undersampling_mask(
                (1, n_1, 640),
                acceleration=acceleration,
                calibration_lines=n_center,
                kind="fastmri-" + name.replace("_", "-"),
                seed=seed,
            )
            assert torch.equal(found, by_lines)


def test_fastmri_lines_are_the_same_in_every_partition() -> None:
    mask = undersampling_mask(
        (5, 64, 8), acceleration=4, calibration_lines=6, kind="fastmri-random", seed=1
    )
    assert mask.shape == (1, 1, 5, 64, 1)
    assert torch.equal(mask, mask[:, :, :1].expand_as(mask))


@pytest.mark.parametrize("n", [40, 41])
@pytest.mark.parametrize("width", [0, 1, 5, 8, 24])
def test_calibration_width_is_found_again(n: int, width: int) -> None:
    mask = torch.zeros(n, dtype=torch.bool)
    start = n // 2 - width // 2
    mask[start : start + width] = True
    assert calibration_width(mask[None, None, None, :, None]) == width


def test_calibration_width_by_trying_all_blocks() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        mask = np.ones((9, 14, 11), dtype=bool)
        mask[tuple(rng.integers(0, mask.shape, (6, 3)).T)] = False
        expected = max(
            (
                w
                for w in range(1, 15)
                if all(
                    mask[
                        tuple(
                            slice(n // 2 - min(w, n) // 2, n // 2 - min(w, n) // 2 + min(w, n))
                            for n in mask.shape
                        )
                    ].flat
                )
            ),
            default=0,
        )
        assert calibration_width(torch.from_numpy(mask)) == expected


def test_calibration_width_counts_what_all_coils_and_volumes_have() -> None:
    mask = torch.ones(2, 3, 1, 16, 16, dtype=torch.bool)
    mask[1, 2, 0, 3, :] = False
    assert calibration_width(mask) == 9  # rows 4 to 12
