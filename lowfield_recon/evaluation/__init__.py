"""How good an image is: metrics with explicit data range and mask, and reports one can look at."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["Scores", "blur_effect", "hfen", "nrmse", "psnr", "score", "ssim"]


def __getattr__(name: str) -> Any:
    """Load the metrics on first use, so that importing the package stays light."""
    if name in __all__:
        return getattr(import_module("lowfield_recon.evaluation.metrics"), name)
    raise AttributeError(f"module 'lowfield_recon.evaluation' has no attribute '{name}'")
