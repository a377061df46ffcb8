"""Results of methods that Ctrl-C ended early and that returned their best image so far."""

from __future__ import annotations

from lowfield_recon.problem import Reconstruction

INTERRUPTED = "interrupted"
"""Stopping reason of such a result."""


def is_interrupted(result: Reconstruction) -> bool:
    """Say whether a method was interrupted and returned its best image so far.

    Parameters
    ----------
    result
        What a reconstructor returned.

    Returns
    -------
        Whether its stopping reason is `"interrupted"`.

    Examples
    --------
    >>> import torch
    >>> result = Reconstruction(
    ...     image=torch.ones(1, 1, 1, 2, 2),
    ...     method="dip",
    ...     diagnostics={"stopping_reason": "interrupted"},
    ... )
    >>> is_interrupted(result)
    True
    """
    return result.diagnostics.get("stopping_reason") == INTERRUPTED


def uninterrupted(result: Reconstruction) -> Reconstruction:
    """Hand a result through, unless it was interrupted: then what called for it ends too.

    For whatever keeps results for later (pipelines, searches, benchmarks): an image that was cut
    short says nothing about its method.

    Parameters
    ----------
    result
        What a reconstructor returned.

    Returns
    -------
        The same.

    Raises
    ------
    KeyboardInterrupt
        If the method was interrupted.

    Examples
    --------
    >>> import torch
    >>> result = Reconstruction(image=torch.ones(1, 1, 1, 2, 2), method="tv")
    >>> uninterrupted(result) is result
    True
    """
    if is_interrupted(result):
        raise KeyboardInterrupt
    return result
