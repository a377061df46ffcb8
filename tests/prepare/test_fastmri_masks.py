"""fastMRI masks: what cannot be drawn is refused in one line. Equality: see test_undersampling."""

from __future__ import annotations

import pytest

from lowfield_recon.errors import UsageError
from lowfield_recon.prepare.fastmri_masks import FASTMRI_KINDS, fastmri_mask


@pytest.mark.parametrize("kind", FASTMRI_KINDS)
def test_the_centre_starts_where_fastmri_puts_it(kind) -> None:
    lines = fastmri_mask(321, kind=kind, acceleration=8, center_fraction=0.04, seed=3)
    start = (321 - 13 + 1) // 2
    assert bool(lines[start : start + 13].all())
    assert 30 <= int(lines.sum()) <= 60


@pytest.mark.parametrize(
    ("kind", "settings", "text"),
    [
        ("fastmri-randm", {}, "Did you mean 'fastmri-random'"),
        ("fastmri-random", {"acceleration": 1}, "a number above 1"),
        ("fastmri-magic", {"acceleration": 2.5}, "an integer above 1"),
        ("fastmri-equispaced", {"acceleration": 64}, "below the 64 lines"),
        ("fastmri-random", {"center_fraction": 1.0}, "0 to below 1"),
        ("fastmri-equispaced-fraction", {"center_fraction": 0.5}, "already 1 in 4 lines"),
        ("fastmri-random", {"seed": -1}, "draws no mask"),
    ],
)
def test_what_cannot_be_drawn_is_refused(kind, settings, text) -> None:
    with pytest.raises(UsageError) as caught:
        fastmri_mask(64, kind=kind, **{"acceleration": 4, "center_fraction": 0.08, **settings})
    assert text in str(caught.value)
