"""From an image file to a simulated scan in an ISMRMRD file, with its recipe inside."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.files import atomic_path, check_output_path
from lowfield_recon.manifest import describe_inputs, write_manifest
from lowfield_recon.prepare.cropping import crop_center
from lowfield_recon.problem import Geometry
from lowfield_recon.scan.image_reader import ImageFile, read_image
from lowfield_recon.scan.ismrmrd_writer import write_ismrmrd_kspace
from lowfield_recon.scan.load import load_scan
from lowfield_recon.scan.records import Extent, ScanHeader, Shape
from lowfield_recon.scan.stored_coil_maps import NOISE_STD, append_coil_maps
from lowfield_recon.simulation.noise import noise_report
from lowfield_recon.simulation.pattern import window_size
from lowfield_recon.simulation.recipe import Recipe, check_recipe
from lowfield_recon.simulation.simulate import Simulated, simulate_kspace

RECIPE = "lowfield_recon_recipe"
"""Name of the user parameter that holds the recipe as JSON."""

_VOXEL_M = 1e-3
_LUMINANCE = (0.299, 0.587, 0.114)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Object:
    """What is imaged."""

    image: torch.Tensor
    """`(volumes, 1, z, y, x)`."""

    geometry: Geometry


def simulate_scan(
    path: str | Path,
    out: str | Path,
    recipe: Recipe,
    *,
    matrix: Shape | None = None,
    fov_m: tuple[float | None, float, float] | None = None,
    voxel_m: tuple[float | None, float, float] | None = None,
) -> list[str]:
    """Simulate the scan of an image and write it as ISMRMRD, with a JSON beside it.

    The recipe stands in the header as user parameter `lowfield_recon_recipe`, the noise level as
    `simulated_noise_std`, and the coil maps of several coils lie in the file as the image series
    `coil_maps`, so that reconstruction can use what is known. Volumes of a series become
    repetitions.

    Parameters
    ----------
    path
        PNG, JPEG, TIFF, NIfTI, ISMRMRD images or an array.
    out
        Name of the ISMRMRD file, ending in `.h5` or `.mrd`.
    recipe
        What is done to the image.
    matrix
        Size (z, y, x) instead of the recipe's; z = 1 leaves the size along z as it is.
    fov_m
        Field of view (z, y, x) [m] instead of what the file says; z None leaves that as it is.
    voxel_m
        Voxel size (z, y, x) [m] instead of the field of view.

    Returns
    -------
        What was assumed, one sentence each.

    Raises
    ------
    UsageError
        If the ending is another, or the recipe does not fit the image.
    DataError
        If the file is no image.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> np.save(folder / "image.npy", np.ones((8, 8), dtype=np.float32))
    >>> notes = simulate_scan(folder / "image.npy", folder / "scan.h5", Recipe(snr=20))
    >>> load_scan(folder / "scan.h5").header.encoded_matrix
    (1, 8, 8)
    """
    path, out = Path(path), check_output_path(out)
    if out.suffix.lower() not in (".h5", ".mrd"):
        raise UsageError(f"{out.name}: an ISMRMRD file ends in .h5 or .mrd; choose such a name.")
    if fov_m is not None and voxel_m is not None:
        raise UsageError("the field of view and the voxel size say the same; give one of them.")
    check_recipe(recipe)
    notes: list[str] = []
    scene = _object(read_image(path), path.name, fov_m, voxel_m, notes)
    if matrix is not None:
        n_z = scene.image.shape[-3] if matrix[0] == 1 else matrix[0]
        recipe = recipe.model_copy(update={"matrix": (n_z, *matrix[1:])})
    size = scene.geometry.voxel_size_m
    scan = simulate_kspace(scene.image, recipe, voxel_size_m=size)
    report = noise_report(scan.signal, scan.image, scan.mask, float(scan.noise_std.max()), recipe)
    with atomic_path(out) as temporary:
        _write(temporary, scan, scene, recipe)
        if recipe.n_coils > 1:
            append_coil_maps(temporary, _stored_maps(scan, recipe))
        _check(temporary, out.name)
    write_manifest(
        out,
        command="simulate",
        inputs=describe_inputs({"image": path}),
        options={"recipe": recipe.model_dump(), "fov_m": fov_m, "voxel_m": voxel_m},
        results={
            "seed": recipe.seed,
            "noise": report,
            "sampling_fraction": float(scan.mask.float().mean()),
            "voxel_size_m": _geometry(scene, scan).voxel_size_m,
            "assumptions": notes,
        },
    )
    return notes


def _object(
    file: ImageFile,
    name: str,
    fov_m: tuple[float | None, float, float] | None,
    voxel_m: tuple[float | None, float, float] | None,
    notes: list[str],
) -> _Object:
    """Return the image as one channel, with a voxel size."""
    image = file.data
    if image.shape[-4] == 3 and file.is_photograph:
        notes.append("The colours were turned into luminance (Rec. 601).")
        weights = torch.tensor(_LUMINANCE).reshape(3, 1, 1, 1)
        image = (image * weights).sum(dim=-4, keepdim=True)
    if image.shape[-4] != 1:
        raise DataError(
            f"{name}: has {image.shape[-4]} channels; expected one image to be measured. Choose "
            "one channel."
        )
    image = image.reshape(-1, *image.shape[-4:])
    if not bool(image.any()):
        raise DataError(f"{name}: is zero everywhere; there is nothing to measure.")
    known = file.geometry
    size = known.voxel_size_m if known is not None else (_VOXEL_M, _VOXEL_M, _VOXEL_M)
    if fov_m is not None:
        voxel_m = (
            None if fov_m[0] is None else fov_m[0] / image.shape[-3],
            fov_m[1] / image.shape[-2],
            fov_m[2] / image.shape[-1],
        )
    if voxel_m is not None:
        size = (size[0] if voxel_m[0] is None else voxel_m[0], voxel_m[1], voxel_m[2])
    elif known is None:
        notes.append("The voxel size is not known; 1 mm was taken.")
    geometry = (
        Geometry(voxel_size_m=size, is_known=False)
        if known is None
        else dataclasses.replace(known, voxel_size_m=size)
    )
    if not geometry.is_known:
        notes.append("The orientation is not known; the header says so.")
    return _Object(image=image, geometry=geometry)


def _geometry(scene: _Object, scan: Simulated) -> Geometry:
    """Return the geometry at the resolution of k-space: voxel n // 2 stays where it is."""
    old, new = scene.image.shape[-3:], scan.image.shape[-3:]
    z, y, x = (d * n / m for d, n, m in zip(scene.geometry.voxel_size_m, old, new, strict=True))
    return dataclasses.replace(scene.geometry, voxel_size_m=(z, y, x))


def _write(path: Path, scan: Simulated, scene: _Object, recipe: Recipe) -> None:
    matrix: Shape = (scan.image.shape[-3], scan.image.shape[-2], scan.image.shape[-1])
    is_stack = recipe.encoding == "slices"
    encoded = (1, *matrix[1:]) if is_stack else matrix
    # Readouts hold the window only; what the scan did not sample is not in the file.
    width = window_size(matrix, recipe)[2]
    kspace = crop_center(scan.kspace, width, -1).numpy(force=True)
    lines = scan.mask.any(dim=-1, keepdim=True).numpy(force=True)
    geometry = _geometry(scene, scan)
    n_encoded = (encoded[0], encoded[1], encoded[2])
    z, y, x = (n * d for n, d in zip(n_encoded, geometry.voxel_size_m, strict=True))
    fov: Extent = (z, y, x)
    write_ismrmrd_kspace(
        path,
        _seven_axes(kspace, is_stack),
        mask=_seven_axes(lines, is_stack=False),
        fov_m=fov,
        field_strength_t=recipe.field_strength_t,
        matrix=n_encoded,
        geometry=geometry,
        slice_spacing_m=geometry.voxel_size_m[0],
        dwell_time_s=recipe.dwell_time_s,
        noise=None if scan.noise is None else scan.noise.numpy(force=True),
        header=ScanHeader(
            encoded_matrix=n_encoded,
            recon_matrix=n_encoded,
            vendor="lowfield_recon",
            model="simulation",
            user_parameters={
                RECIPE: json.dumps(recipe.model_dump(mode="json", exclude_none=True)),
                NOISE_STD: float(scan.noise_std.max()),
            },
        ),
    )


def _seven_axes(array: npt.NDArray[Any], is_stack: bool) -> npt.NDArray[Any]:
    """Return `(volumes, coils, k2, k1, k0)` as (contrast, repetition, slice, coil, k2, k1, k0)."""
    if not is_stack:
        return array[None, :, None]
    return np.moveaxis(array, 2, 1)[None, :, :, :, None]


def _stored_maps(scan: Simulated, recipe: Recipe) -> torch.Tensor:
    maps = scan.coil_maps
    if recipe.encoding == "slices":
        return maps.movedim(-3, 0)[..., None, :, :].squeeze(1)
    return maps


def _check(path: Path, name: str) -> None:
    """Read the file as anyone would; a repair would mean that it is not valid."""
    repairs = [repair.code for repair in load_scan(path).repairs]
    if repairs:
        raise DataError(f"{name}: was written in need of repair ({', '.join(repairs)}).")
