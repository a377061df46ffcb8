"""From what an MRI scanner recorded to the best image that the data supports.

The names below are loaded when they are first used, so that `import lowfield_recon` loads no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from lowfield_recon.dictionaries import Dictionary, DictionaryBank, load_dictionary
    from lowfield_recon.problem import Geometry, InverseProblem, Reconstruction
    from lowfield_recon.reconstructors import methods, reconstruct
    from lowfield_recon.scan import Scan, load_scan

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
    if name == "__version__":
        return _installed_version()
    raise AttributeError(f"module 'lowfield_recon' has no attribute '{name}'")


def _installed_version() -> str:
    """Return the version of the installed package; reading it takes a while, hence on demand."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("lowfield-recon")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0.0.0"


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
