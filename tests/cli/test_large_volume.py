"""A volume of the size that low-field scanners record, within the memory of a laptop."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lowfield_recon.operators.fourier import centred_fft
from lowfield_recon.scan.ismrmrd_writer import write_ismrmrd_kspace

N, COILS = 128, 8


def _kspace() -> torch.Tensor:
    """An ellipsoid with a hole, seen by eight smooth coils, with noise, `(coils, z, y, x)`."""
    axis = torch.linspace(-1, 1, N)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    image = ((z / 0.8) ** 2 + (y / 0.7) ** 2 + (x / 0.6) ** 2 < 1).float()
    image -= 0.6 * (((z - 0.1) ** 2 + y**2 + (x + 0.1) ** 2) < 0.04).float()
    generator = torch.Generator().manual_seed(0)
    coils = []
    for c in range(COILS):
        angle = 2 * np.pi * c / COILS
        distance = (y - np.sin(angle)) ** 2 + (x - np.cos(angle)) ** 2 + z**2
        coil_image = (image * torch.exp(-distance)).to(torch.complex64) * np.exp(1j * angle)
        noise = torch.randn(image.shape, dtype=torch.complex64, generator=generator)
        coils.append(centred_fft(coil_image, (-3, -2, -1)) + 0.01 * noise)
    return torch.stack(coils)


@pytest.mark.slow
def test_a_cube_of_128_with_8_coils_reconstructs_in_under_8_gigabytes(tmp_path: Path) -> None:
    scan = tmp_path / "scan.h5"
    write_ismrmrd_kspace(scan, _kspace().numpy()[None, None, None], fov_m=(0.2, 0.2, 0.2))
    subprocess.run(
        [
            *(sys.executable, "-m", "lowfield_recon.cli.app", "reconstruct", str(scan)),
            *("-o", str(tmp_path / "image.nii.gz"), "--method", "tv", "--set", "iterations=20"),
            *("--acceleration", "3", "--calibration-lines", "24"),
        ],
        check=True,
    )
    peak_bytes = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert peak_bytes < 8e9
