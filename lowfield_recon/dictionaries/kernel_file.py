"""Kernels as they lie in a file: safetensors, NumPy or torch, any norm, nothing unpickled."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load

from lowfield_recon.errors import DataError, UsageError

LARGEST_FILE = 64 * 2**20
"""Files above this many bytes are not read as a dictionary."""

MOST_TAPS = LARGEST_FILE // 4
"""Arrays with more numbers than this are not read as a dictionary."""

_TORCH_ERRORS = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    OSError,
    OverflowError,
    AssertionError,
)


def read_kernels(path: Path) -> torch.Tensor:
    """Read kernels from a file, as they are there.

    Parameters
    ----------
    path
        `.safetensors` (tensor `kernels`, or the only one), `.npy`, `.pt` or `.pth` (a tensor, or a
        dictionary of Python with one), real, `(K, ky, kx)` or `(K, 1, ky, kx)`.

    Returns
    -------
        Kernels `(K, ky, kx)`, float32; their size and norms are not checked.

    Raises
    ------
    UsageError
        If the ending is another one.
    DataError
        If the file is missing, too large, damaged, or holds no real kernels.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "mine.npy"
    >>> np.save(path, np.ones((4, 1, 3, 3)))
    >>> read_kernels(path).shape
    torch.Size([4, 3, 3])
    """
    if path.suffix not in READERS:
        raise UsageError(
            f"{path.name}: a dictionary is a file {', '.join(READERS)}; save its kernels "
            "(K, ky, kx) as one of these."
        )
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DataError(
            f"{path.name}: cannot be read ({error.strerror}); restore the file or rebuild the bank."
        ) from error
    if not path.is_file():
        raise DataError(f"{path.name}: is not a file; expected kernels in one of {list(READERS)}.")
    if size > LARGEST_FILE:
        raise DataError(
            f"{path.name}: {size} bytes; a dictionary has at most {LARGEST_FILE}. Check that it is "
            "the right file."
        )
    return _checked(READERS[path.suffix](path), path.name)


def _checked(kernels: torch.Tensor, name: str) -> torch.Tensor:
    found = f"{str(kernels.dtype).removeprefix('torch.')} {tuple(kernels.shape)}"
    if not kernels.is_floating_point() or kernels.layout != torch.strided:
        raise DataError(
            f"{name}: expected real floating-point kernels (K, ky, kx), got {found}; save such."
        )
    if kernels.ndim == 4 and kernels.shape[1] == 1:
        kernels = kernels[:, 0]
    if kernels.ndim != 3 or kernels.numel() == 0:
        raise DataError(
            f"{name}: expected kernels (K, ky, kx) or (K, 1, ky, kx), got {found}; reshape them."
        )
    if kernels.numel() > MOST_TAPS:
        raise DataError(
            f"{name}: claims {found}; a dictionary has at most {MOST_TAPS} numbers. Check that it "
            "is the right file."
        )
    return kernels.to(torch.float32).contiguous()


def _read_npy(path: Path) -> torch.Tensor:
    try:
        # Mapped, so that a header that claims more than the file holds allocates nothing.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError, OverflowError, SyntaxError) as error:
        raise DataError(f"{path.name}: expected a NumPy array of kernels ({error}).") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise DataError(f"{path.name}: expected a NumPy array of kernels, found an archive.")
    if array.dtype.kind != "f":
        raise DataError(
            f"{path.name}: expected real floating-point kernels (K, ky, kx), got {array.dtype} "
            f"{array.shape}; save such."
        )
    return torch.from_numpy(array.astype(np.float32))


def _read_safetensors(path: Path) -> torch.Tensor:
    try:
        tensors = load(path.read_bytes())
    except SafetensorError as error:
        raise DataError(f"{path.name}: not a safetensors file ({error}).") from error
    if "kernels" in tensors:
        return tensors["kernels"]
    return _only_tensor(tensors, path.name)


def _read_torch(path: Path) -> torch.Tensor:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                unpacked = sum(member.file_size for member in archive.infolist())
            if unpacked > LARGEST_FILE:
                raise DataError(
                    f"{path.name}: {unpacked} bytes unpacked; a dictionary has at most "
                    f"{LARGEST_FILE}. Check that it is the right file."
                )
        with warnings.catch_warnings():
            # Whatever torch has to say of a file's age or kind, kernels that are read are checked.
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except DataError:
        raise
    except _TORCH_ERRORS as error:
        raise DataError(
            f"{path.name}: torch.load(weights_only=True) cannot read it; expected a tensor of "
            "kernels, saved with torch.save."
        ) from error
    if isinstance(content, torch.Tensor):
        return content.detach()
    if not isinstance(content, dict):
        raise DataError(
            f"{path.name}: expected a tensor of kernels or a dict with one, got "
            f"{type(content).__name__}; save the tensor alone."
        )
    return _only_tensor(content, path.name)


def _only_tensor(content: dict[Any, Any], name: str) -> torch.Tensor:
    tensors = {str(key): value for key, value in content.items() if torch.is_tensor(value)}
    if len(tensors) != 1:
        found = ", ".join(f"'{key}'" for key in sorted(tensors)[:5]) or "none"
        raise DataError(
            f"{name}: expected one tensor, named 'kernels' or alone, found {found}; save it alone."
        )
    (tensor,) = tensors.values()
    return tensor.detach()


READERS: dict[str, Callable[[Path], torch.Tensor]] = {
    ".safetensors": _read_safetensors,
    ".npy": _read_npy,
    ".pt": _read_torch,
    ".pth": _read_torch,
}
"""Readers by ending."""
