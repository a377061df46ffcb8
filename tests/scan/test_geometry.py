"""Affines of phantoms whose orientation is known, written and read back with nibabel."""

from __future__ import annotations

import itertools
from pathlib import Path

import ismrmrd
import nibabel
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from lowfield_recon.errors import DataError
from lowfield_recon.problem import Geometry
from lowfield_recon.scan.geometry import affine_ras, stack_geometry
from lowfield_recon.scan.load import load_scan
from lowfield_recon.scan.nifti import read_nifti
from lowfield_recon.scan.writers import open_image_writer

LPS_TO_RAS_MM = np.array([-1e3, -1e3, 1e3])
SHAPE = (5, 6, 7)
SIZES = (4e-3, 2e-3, 1.5e-3)
POSITION = (0.0123, -0.0371, 0.0542)

SIGNED_PERMUTATIONS = [
    np.diag(signs)[list(order)]
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1.0, -1.0), repeat=3)
]
OBLIQUE = [Rotation.random(rng=seed).as_matrix() for seed in range(4)]
OBLIQUE += [matrix * np.array([[1.0], [1.0], [-1.0]]) for matrix in OBLIQUE[:2]]
ORIENTATIONS = SIGNED_PERMUTATIONS + OBLIQUE


def geometry_of(directions: np.ndarray, position: tuple[float, ...] = POSITION) -> Geometry:
    x, y, z = (tuple(float(c) for c in row) for row in directions)
    return Geometry(
        voxel_size_m=SIZES, x_direction=x, y_direction=y, z_direction=z, position_m=position
    )


def test_there_are_all_48_orientations() -> None:
    assert len({tuple(m.flat) for m in SIGNED_PERMUTATIONS}) == 48
    assert sorted({round(float(np.linalg.det(m))) for m in ORIENTATIONS}) == [-1, 1]


@pytest.mark.parametrize("directions", ORIENTATIONS)
def test_every_marked_voxel_is_where_it_was_put(directions: np.ndarray, tmp_path: Path) -> None:
    """The expected place of a voxel is added up by hand from the centre, one step per voxel."""
    geometry = geometry_of(directions)
    marks = [(2, 3, 3), (0, 0, 0), (4, 5, 6), (1, 4, 0)]  # z, y, x; the first is n // 2
    image = torch.zeros(1, 1, *SHAPE)
    for value, mark in enumerate(marks, start=1):
        image[0, 0][mark] = value
    file = tmp_path / "phantom.nii.gz"
    with open_image_writer(
        file, volume_shape=(1, 1), image_shape=SHAPE, geometries=[geometry]
    ) as writer:
        writer.append(image)
    stored = nibabel.load(file)
    voxels = np.asarray(stored.dataobj)
    assert voxels.shape == SHAPE[::-1]
    for value, (z, y, x) in enumerate(marks, start=1):
        (index,) = np.argwhere(voxels == value)
        found = nibabel.affines.apply_affine(stored.affine, index)
        place = np.array(POSITION)
        place = place + (x - 3) * SIZES[2] * directions[0]
        place = place + (y - 3) * SIZES[1] * directions[1]
        place = place + (z - 2) * SIZES[0] * directions[2]
        np.testing.assert_allclose(found, place * LPS_TO_RAS_MM, atol=1e-3)  # 1e-6 m
    qform = stored.header.get_qform(coded=True)
    sform = stored.header.get_sform(coded=True)
    assert (qform[1], sform[1]) == (1, 1)
    np.testing.assert_allclose(qform[0], sform[0], atol=1e-3)
    np.testing.assert_allclose(stored.header.get_zooms(), [1.5, 2.0, 4.0], rtol=1e-6)
    assert stored.header.get_xyzt_units() == ("mm", "sec")


@pytest.mark.parametrize("directions", ORIENTATIONS[::7])
def test_nifti_reader_gives_the_geometry_back(directions: np.ndarray, tmp_path: Path) -> None:
    geometry = geometry_of(directions)
    file = tmp_path / "phantom.nii"
    with open_image_writer(
        file, volume_shape=(1, 1), image_shape=SHAPE, geometries=[geometry]
    ) as writer:
        writer.append(torch.randn(1, 1, *SHAPE))
    found = read_nifti(file).geometry
    for name in ("voxel_size_m", "x_direction", "y_direction", "z_direction", "position_m"):
        np.testing.assert_allclose(getattr(found, name), getattr(geometry, name), atol=1e-6)
    plane = read_nifti(file, plane=4).geometry
    moved = np.array(POSITION) + 2 * SIZES[0] * directions[2]
    np.testing.assert_allclose(plane.position_m, moved, atol=1e-6)


@pytest.mark.parametrize("directions", ORIENTATIONS[::5])
def test_slices_of_an_ismrmrd_file_become_the_right_volume(
    directions: np.ndarray, tmp_path: Path
) -> None:
    """A file made with the ismrmrd package, slices with gaps, written as NIfTI."""
    n_slices, n_y, n_x, gap_mm = 5, 8, 10, 7.0
    centre_mm = np.array([11.0, -22.0, 33.0])
    file = tmp_path / "scan.h5"
    values = _write_point_slices(file, directions, centre_mm, gap_mm, (n_slices, n_y, n_x))
    scan = load_scan(file)
    problems = scan.problems()
    nifti = tmp_path / "scan.nii.gz"
    with open_image_writer(
        nifti,
        volume_shape=scan.volume_shape,
        image_shape=problems[0].shape[-3:],
        geometries=[problem.geometry for problem in problems],
    ) as writer:
        for problem in problems:
            (image,) = problem.operator.H(problem.data)
            writer.append(image)
    stored = nibabel.load(nifti)
    voxels = np.asarray(stored.dataobj)
    for value, number in values.items():
        distance = np.abs(voxels.max(axis=(0, 1)) - value)
        plane = int(distance.argmin())
        assert distance[plane] < 1e-3
        index = np.array([*np.unravel_index(voxels[..., plane].argmax(), (n_x, n_y)), plane])
        found = nibabel.affines.apply_affine(stored.affine, index)
        place = centre_mm + (number - 2) * gap_mm * directions[2]
        place = place + (3 - n_x // 2) * (200 / n_x) * directions[0]
        place = place + (6 - n_y // 2) * (120 / n_y) * directions[1]
        np.testing.assert_allclose(found, place * [-1, -1, 1], atol=1e-3)


def _write_point_slices(
    file: Path,
    directions: np.ndarray,
    centre_mm: np.ndarray,
    gap_mm: float,
    shape: tuple[int, int, int],
) -> dict[float, int]:
    """Write slices with one bright voxel at (y, x) = (6, 3) each; return its value per slice."""
    _, n_y, n_x = shape
    xsd = ismrmrd.xsd
    space = xsd.encodingSpaceType(
        matrixSize=xsd.matrixSizeType(x=n_x, y=n_y, z=1),
        fieldOfView_mm=xsd.fieldOfViewMm(x=200.0, y=120.0, z=5.0),
    )
    header = xsd.ismrmrdHeader(
        experimentalConditions=xsd.experimentalConditionsType(H1resonanceFrequency_Hz=2341761),
        encoding=[
            xsd.encodingType(
                encodedSpace=space,
                reconSpace=space,
                encodingLimits=xsd.encodingLimitsType(
                    kspace_encoding_step_1=xsd.limitType(
                        minimum=0, maximum=n_y - 1, center=n_y // 2
                    )
                ),
                trajectory=xsd.trajectoryType.CARTESIAN,
            )
        ],
    )
    values = {}
    with ismrmrd.Dataset(file, mode="w") as dataset:
        dataset.write_xml_header(xsd.ToXML(header))
        for number in (0, 2, 4, 1, 3):  # interleaved
            image = np.zeros((n_y, n_x), dtype=np.complex64)
            image[6, 3] = 1 + number
            values[1.0 + number] = number
            k = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image), norm="ortho"))
            for row in range(n_y):
                line = ismrmrd.Acquisition.from_array(k[row : row + 1].astype(np.complex64))
                line.idx.kspace_encode_step_1, line.idx.slice = row, number
                line.center_sample = n_x // 2
                line.sample_time_us = 10.0
                line.read_dir, line.phase_dir, line.slice_dir = (tuple(d) for d in directions)
                line.position = tuple(centre_mm + (number - 2) * gap_mm * directions[2])
                dataset.append_acquisition(line)
    return values


def slices(positions: list[tuple[float, ...]], **changes: object) -> list[Geometry]:
    return [Geometry(voxel_size_m=SIZES, position_m=p, **changes) for p in positions]  # type: ignore[arg-type]


def test_spacing_counts_gaps_and_descending_slices_turn_the_axis() -> None:
    up = stack_geometry(slices([(0, 0, 0.01 * i) for i in range(4)]))
    down = stack_geometry(slices([(0, 0, -0.01 * i) for i in range(4)]))
    assert up is not None
    assert down is not None
    assert up.voxel_size_m == pytest.approx((0.01, *SIZES[1:]))
    assert up.position_m == pytest.approx((0, 0, 0.02))
    assert up.z_direction == (0, 0, 1)
    assert down.z_direction == (0, 0, -1)
    first = affine_ras(down, (4, 6, 6)) @ [3, 3, 0, 1]
    last = affine_ras(down, (4, 6, 6)) @ [3, 3, 3, 1]
    np.testing.assert_allclose(first[:3], 0, atol=1e-12)
    np.testing.assert_allclose(last[:3], [0, 0, -30], atol=1e-12)


def test_slabs_make_one_volume() -> None:
    stack = stack_geometry(slices([(0, 0, 0.02 * i) for i in range(3)]), n_z=4)
    assert stack is not None
    assert stack.voxel_size_m[0] == pytest.approx(0.005)
    # 12 planes; the first slab's plane 2 lies on 0, so plane 6 lies 4 planes on.
    assert stack.position_m == pytest.approx((0, 0, 0.02))


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        ([(0, 0, 0), (0, 0, 0.01), (0, 0, 0.021)], "expected one step"),
        ([(0, 0, 0), (0, 0, 0.02), (0, 0, 0.01)], "spatial order"),
        ([(0, 0, 0), (0.002, 0, 0.01), (0.004, 0, 0.02)], "sheared"),
    ],
)
def test_irregular_slices_are_refused(positions: list[tuple[float, ...]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        stack_geometry(slices(positions))


def test_slices_that_are_not_parallel_are_refused() -> None:
    tilted = slices([(0, 0, 0.01)], x_direction=(0.0, 1.0, 0.0), y_direction=(1.0, 0.0, 0.0))
    with pytest.raises(DataError, match="not parallel"):
        stack_geometry(slices([(0, 0, 0)]) + tilted)


def test_unknown_stays_unknown(caplog: pytest.LogCaptureFixture) -> None:
    assert stack_geometry([None, None]) is None
    unknown = stack_geometry(slices([(0, 0, 0), (0, 0, 0)], is_known=False))
    assert unknown is not None
    assert not unknown.is_known
    same = stack_geometry(slices([(0, 0, 0), (0, 0, 0)]))
    assert same is not None
    assert not same.is_known
    assert "claim the same position" in caplog.text


def test_directions_must_be_orthonormal() -> None:
    bent = Geometry(voxel_size_m=SIZES, x_direction=(1.0, 0.1, 0.0))
    with pytest.raises(DataError, match="orthogonal unit vectors"):
        affine_ras(bent, SHAPE)
    with pytest.raises(DataError, match="positive voxel sizes"):
        affine_ras(Geometry(voxel_size_m=(0.0, 1e-3, 1e-3)), SHAPE)
