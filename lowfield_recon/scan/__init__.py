"""Reading what scanners record and writing images; names are loaded when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lowfield_recon.scan.arrays import read_array
    from lowfield_recon.scan.averaging import average_scan
    from lowfield_recon.scan.axes import arrange_axes
    from lowfield_recon.scan.detect import detect_format
    from lowfield_recon.scan.load import load_scan
    from lowfield_recon.scan.problems import CoilCompression, Problems, Undersampling
    from lowfield_recon.scan.records import ImageIndex, RawKSpace, Repair, Scan, ScanHeader

__all__ = [
    "CoilCompression",
    "ImageIndex",
    "Problems",
    "RawKSpace",
    "Repair",
    "Scan",
    "ScanHeader",
    "Undersampling",
    "arrange_axes",
    "average_scan",
    "detect_format",
    "load_scan",
    "read_array",
]

_HOME = {
    "CoilCompression": "problems",
    "ImageIndex": "records",
    "Problems": "problems",
    "RawKSpace": "records",
    "Repair": "records",
    "Scan": "records",
    "ScanHeader": "records",
    "Undersampling": "problems",
    "arrange_axes": "axes",
    "average_scan": "averaging",
    "detect_format": "detect",
    "load_scan": "load",
    "read_array": "arrays",
}


def __getattr__(name: str) -> Any:
    """Load a public name from the module that holds it, on first use (PEP 562)."""
    if name in _HOME:
        return getattr(import_module(f"lowfield_recon.scan.{_HOME[name]}"), name)
    raise AttributeError(f"module 'lowfield_recon.scan' has no attribute '{name}'")


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
