"""Every combination of what ISMRMRD files differ in gives the image that the file was made of."""

from __future__ import annotations

import itertools

import ismrmrd
import numpy as np
import pytest
import torch

from lowfield_recon.scan import load_scan

TOLERANCE = 1e-5
SIZES = {
    ("slice", "even"): (1, 16, 18),
    ("slice", "odd"): (1, 17, 19),
    ("slices", "even"): (1, 16, 18),
    ("slices", "odd"): (1, 17, 19),
    ("volume", "even"): (4, 16, 18),
    ("volume", "odd"): (3, 17, 19),
}
CASES = list(
    itertools.product(
        SIZES, (1, 2), ("full", "partial"), (1, 3), ("forwards", "reversed"), ("noise", "no noise")
    )
)


def centred_ifft(k, axes):
    shifted = np.fft.ifftshift(k, axes=axes)
    return np.fft.fftshift(np.fft.ifftn(shifted, axes=axes, norm="ortho"), axes=axes)


def zero_filled(built, kspace):
    """Coil images of the acquired rows, cropped to the image and combined, by numpy alone."""
    spec = built.spec
    kspace[..., : spec.first_row, :] = 0
    axes = tuple(axis for axis in (1, 2, 3) if kspace.shape[axis] > 1)
    wide = centred_ifft(kspace, axes)
    start = wide.shape[-1] // 2 - spec.matrix[2] // 2
    images = wide[..., start : start + spec.matrix[2]]
    return (np.conj(built.coil_maps) * images).sum(axis=0)


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(map(str, (*case[0], *case[1:]))))
def test_combination_gives_the_image(build_scan, acquired_kspace, case):
    (kind, parity), oversampling, sampling, coils, direction, noise = case
    is_stack = kind == "slices"
    built = build_scan(
        matrix=SIZES[kind, parity],
        slices=3 if is_stack else 1,
        slice_order=[1, 2, 0] if is_stack else None,
        oversampling=oversampling,
        first_row=5 if sampling == "partial" else 0,
        coils=coils,
        is_reversed=direction == "reversed",
        noise_lines=4 if noise == "noise" else 0,
    )
    scan = load_scan(built.path)
    assert scan.repairs == ()
    assert any("partial Fourier" in note for note in scan.assumptions) == (sampling == "partial")
    assert (scan.noise is not None) == (noise == "noise")
    if built.noise is not None:
        np.testing.assert_array_equal(scan.noise.numpy(), np.concatenate(list(built.noise), axis=1))
    problems = scan.problems(coil_maps=torch.from_numpy(built.coil_maps), prewhitening=False)
    assert len(problems) == built.spec.slices
    for rank, problem in enumerate(problems):
        found = problem.operator.H(problem.data)[0][0, 0].numpy()
        true = built.image[0, 0, 0, 0, rank]
        expected = true
        if sampling == "partial":
            expected = zero_filled(built, acquired_kspace(built, (0, 0, 0, 0, rank)))
        assert np.abs(found - expected).max() < TOLERANCE * np.abs(true).max()
        if sampling == "partial":
            assert np.abs(expected - true).max() > 0.1 * np.abs(true).max()
            n_rows = built.spec.matrix[1]
            kept = (problem.data != 0).any(dim=-1).sum() / (coils * built.spec.matrix[0])
            assert int(kept) == n_rows - 5


def test_the_combinations_are_all_there():
    assert len(CASES) == len(set(CASES)) == 192


@pytest.mark.parametrize("axis", ["matrix", "lines", "shift"])
def test_a_wrong_place_would_be_seen(build_scan, axis):
    """The comparison notices a centre that is one line off, lines swapped, and a shifted image."""
    built = build_scan(matrix=(1, 16, 18))
    problem = load_scan(built.path).problems()[0]
    data = {
        "matrix": problem.data.roll(1, dims=-2),
        "lines": problem.data.flip(-2),
        "shift": problem.data.roll(1, dims=-1),
    }[axis]
    found = problem.operator.H(data)[0][0, 0].numpy()
    true = built.image[0, 0, 0, 0, 0]
    assert np.abs(found - true).max() > 100 * TOLERANCE * np.abs(true).max()


def test_every_flag_that_is_no_image_in_one_file(build_scan):
    """Junk of a thousand times the signal in lines of every other kind changes nothing."""
    flags = (20, 23, 24, 26, 27, 28, 29, 30, 31)
    built = build_scan(coils=2, noise_lines=2, extra_flags=flags, slices=2)
    scan = load_scan(built.path)
    assert scan.dropped == {
        "noise": 2,
        "calibration only": 1,
        "navigator": 1,
        "phase correction": 1,
        "feedback": 2,
        "dummy": 1,
        "surface coil correction": 1,
        "phase stabilisation": 2,
    }
    maps = torch.from_numpy(built.coil_maps)
    for rank, problem in enumerate(scan.problems(coil_maps=maps, prewhitening=False)):
        found = problem.operator.H(problem.data)[0][0, 0].numpy()
        true = built.image[0, 0, 0, 0, rank]
        assert np.abs(found - true).max() < TOLERANCE * np.abs(true).max()


def images_of(scan):
    return [p.operator.H(p.data)[0][0, 0].numpy() for p in scan.problems(prewhitening=False)]


def test_segments_are_parts_of_one_image(build_scan):
    built = build_scan(fields=lambda row, _: {"segment": row % 3})
    (found,) = images_of(load_scan(built.path))
    assert np.abs(found - built.image[0, 0, 0, 0, 0]).max() < TOLERANCE * np.abs(found).max()


def test_phases_and_sets_are_images_of_their_own(build_scan):
    built = build_scan(phases=3, sets=2, slices=2)
    scan = load_scan(built.path)
    assert [(i.phase, i.set, i.slice) for i in scan.images] == list(
        itertools.product(range(3), range(2), range(2))
    )
    for found, true in zip(images_of(scan), built.image.reshape(-1, 1, 12, 16), strict=True):
        assert np.abs(found - true).max() < TOLERANCE * np.abs(true).max()


def test_the_encoding_space_of_the_image_is_read(build_scan):
    """A second encoding with its own matrix; the image refers to it, a few lines to the first."""
    extra = (
        "<encoding><encodedSpace><matrixSize><x>6</x><y>4</y><z>1</z></matrixSize>"
        "<fieldOfView_mm><x>9</x><y>9</y><z>9</z></fieldOfView_mm></encodedSpace>"
        "<reconSpace><matrixSize><x>6</x><y>4</y><z>1</z></matrixSize>"
        "<fieldOfView_mm><x>9</x><y>9</y><z>9</z></fieldOfView_mm></reconSpace>"
        "<encodingLimits/><trajectory>cartesian</trajectory></encoding>"
    )
    built = build_scan(
        fields=lambda *_: {"encoding_space_ref": 1},
        mend=lambda xml: xml.replace("<encoding>", extra + "<encoding>", 1),
    )
    with ismrmrd.Dataset(built.path) as file:
        for _ in range(3):
            samples = np.full((1, 6), 1e4, np.complex64)
            file.append_acquisition(ismrmrd.Acquisition.from_array(samples))
    scan = load_scan(built.path)
    assert scan.header.encoded_matrix == (1, 12, 16)
    assert scan.dropped == {"other encoding space": 3}
    (found,) = images_of(scan)
    assert np.abs(found - built.image[0, 0, 0, 0, 0]).max() < TOLERANCE * np.abs(found).max()


def test_an_acquisition_smaller_than_the_matrix_is_said(build_scan):
    built = build_scan(matrix=(1, 24, 16), first_row=6, n_rows=12)
    scan = load_scan(built.path)
    assert any("less resolution than the encoded matrix" in note for note in scan.assumptions)
    assert scan.kspace(0).mask.flatten().nonzero().flatten().tolist() == list(range(6, 18))
