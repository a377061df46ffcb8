"""From what an MRI scanner recorded to the best image that the data supports.

The names below are loaded when they are first used, so that `import lowfield_recon` loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lowfield_recon.dictionaries import Dictionary, DictionaryBank, load_dictionary
    from lowfield_recon.problem import Geometry, InverseProblem, Reconstruction
    from lowfield_recon.reconstructors import methods, reconstruct
    from lowfield_recon.scan import Scan, load_scan

try:
    __version__ = version("lowfield-recon")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"

__all__ = [
    "Dictionary",
    "DictionaryBank",
    "Geometry",
    "InverseProblem",
    "Reconstruction",
    "Scan",
    "__version__",
    "load_dictionary",
    "load_scan",
    "methods",
    "reconstruct",
]

_HOME = {
    "Dictionary": "lowfield_recon.dictionaries",
    "DictionaryBank": "lowfield_recon.dictionaries",
    "Geometry": "lowfield_recon.problem",
    "InverseProblem": "lowfield_recon.problem",
    "Reconstruction": "lowfield_recon.problem",
    "Scan": "lowfield_recon.scan",
    "load_dictionary": "lowfield_recon.dictionaries",
    "load_scan": "lowfield_recon.scan",
    "methods": "lowfield_recon.reconstructors",
    "reconstruct": "lowfield_recon.reconstructors",
}


def __getattr__(name: str) -> Any:
    """Load a public name from the module that holds it, on first use (PEP 562)."""
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'lowfield_recon' has no attribute '{name}'")


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
