"""Small scans and a way to run commands as a user does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from skimage import data
from skimage.transform import resize

from lowfield_recon.cli.app import main
from lowfield_recon.scan.convert import convert_to_ismrmrd


@dataclass(frozen=True)
class Done:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Return a function that runs a command in this process."""

    def run_command(*words: str | Path) -> Done:
        capfd.readouterr()
        code = main([str(word) for word in words])
        captured = capfd.readouterr()
        return Done(code, captured.out, captured.err)

    return run_command


@pytest.fixture(scope="session")
def photograph() -> np.ndarray:
    """Return a real photograph, `(48, 64)`, grey scale 0..1."""
    return resize(data.camera() / 255, (48, 64), anti_aliasing=True)


@pytest.fixture(scope="session")
def kspace(photograph: np.ndarray) -> np.ndarray:
    """Return noisy one-coil k-space of three slices, `(slice, y, x)`; noise deviation 0.02."""
    generator = np.random.default_rng(0)
    images = np.stack([photograph, photograph[::-1], photograph.T[:48, :48].repeat(2, 1)[:, :64]])
    noise = generator.normal(0, 0.02 / np.sqrt(2), (2, *images.shape))
    axes = (-2, -1)
    spectrum = np.fft.fftshift(
        np.fft.fft2(np.fft.ifftshift(images, axes=axes), norm="ortho"), axes=axes
    )
    return (spectrum + noise[0] + 1j * noise[1]).astype(np.complex64)


@pytest.fixture(scope="session")
def scan_file(kspace: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an ISMRMRD file with three slices."""
    folder = tmp_path_factory.mktemp("scan")
    np.save(folder / "kspace.npy", kspace)
    path = folder / "scan.h5"
    convert_to_ismrmrd(
        folder / "kspace.npy",
        path,
        axes="slice y x",
        fov_m=(0.005, 0.18, 0.24),
        field_strength_t=0.055,
    )
    return path
