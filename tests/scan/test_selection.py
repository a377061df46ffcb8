"""Which readout is what, by flag, encoding space, coil and sample count."""

from __future__ import annotations

import ismrmrd
import ismrmrd.hdf5
import numpy as np
import pytest

from lowfield_recon.errors import DataError
from lowfield_recon.scan.selection import NOT_IMAGE, encoding_space_of_image, select_readouts


def heads_of(n, **columns):
    heads = np.zeros(n, dtype=ismrmrd.hdf5.acquisition_header_dtype)
    heads["number_of_samples"], heads["active_channels"] = 8, 2
    for name, values in columns.items():
        heads[name] = values
    return heads


def select(heads, channels=None):
    space = encoding_space_of_image(heads, "scan.h5")
    return select_readouts(heads, encoding_space=space, receiver_channels=channels, where="scan.h5")


def test_flag_numbers_are_those_of_the_ismrmrd_package():
    names = {
        "noise": [ismrmrd.ACQ_IS_NOISE_MEASUREMENT],
        "navigator": [ismrmrd.ACQ_IS_NAVIGATION_DATA],
        "phase correction": [ismrmrd.ACQ_IS_PHASECORR_DATA],
        "feedback": [ismrmrd.ACQ_IS_HPFEEDBACK_DATA, ismrmrd.ACQ_IS_RTFEEDBACK_DATA],
        "dummy": [ismrmrd.ACQ_IS_DUMMYSCAN_DATA],
        "surface coil correction": [ismrmrd.ACQ_IS_SURFACECOILCORRECTIONSCAN_DATA],
        "calibration only": [ismrmrd.ACQ_IS_PARALLEL_CALIBRATION],
    }
    found: dict[str, list[int]] = {}
    for flag, reason in NOT_IMAGE.items():
        found.setdefault(reason, []).append(flag)
    assert found.pop("phase stabilisation") == [30, 31]
    assert found == names


def test_every_flag_alone():
    flags = np.array([0, *(1 << (f - 1) for f in NOT_IMAGE), 1 << 20], dtype=np.uint64)
    selection = select(heads_of(flags.size, flags=flags))
    assert selection.image.tolist() == [0, flags.size - 1]
    assert selection.calibration.tolist() == [flags.size - 2, flags.size - 1]
    assert selection.noise.tolist() == [1]


def test_calibration_and_imaging_with_both_flags_is_an_image_line():
    selection = select(heads_of(2, flags=[0, (1 << 19) | (1 << 20)]))
    assert selection.image.tolist() == [0, 1]
    assert selection.calibration.tolist() == [1]


def test_most_used_encoding_space_is_read():
    selection = select(heads_of(5, encoding_space_ref=[0, 1, 1, 1, 0]))
    assert selection.encoding_space == 1
    assert selection.image.tolist() == [1, 2, 3]
    assert selection.dropped == {"other encoding space": 2}


def test_coil_count_of_the_header_wins_over_the_largest():
    heads = heads_of(4, active_channels=[2, 2, 6, 6])
    assert select(heads, channels=2).image.tolist() == [0, 1]
    assert select(heads, channels=None).image.tolist() == [2, 3]
    assert select(heads, channels=5).image.tolist() == [2, 3]


def test_discarded_samples_do_not_count():
    heads = heads_of(
        4, number_of_samples=[8, 10, 10, 9], discard_pre=[0, 2, 1, 0], discard_post=[0, 0, 1, 0]
    )
    selection = select(heads)
    assert selection.n_samples == 8
    assert selection.dropped == {"other sample count": 1}


def test_no_coils_is_an_error():
    with pytest.raises(DataError, match="have 0 coils and 8 samples"):
        select(heads_of(3, active_channels=0))
