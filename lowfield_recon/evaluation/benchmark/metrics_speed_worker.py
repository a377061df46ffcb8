"""The process of `benchmark metrics`: the same images scored by each tool, in turns.

A request states `image` (a file), `images`, `distinct` and `block` (numbers of images), `dtype`,
`repeats`, `seed` and `threads`.
"""

from __future__ import annotations

import random
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from lowfield_recon.evaluation.benchmark.answering import answer_one
from lowfield_recon.evaluation.fast_scores import score_all
from lowfield_recon.evaluation.metrics import score

Stack = NDArray[Any]
Scorer = Callable[[Stack, Stack], object]

DATA_RANGE = 1.0

skimage_measure: Any = import_module("skimage.measure")
skimage_metrics: Any = import_module("skimage.metrics")


def pairs(image: Stack, count: int, dtype: str, seed: int) -> tuple[Stack, Stack]:
    """Make different references of one image, and what a reconstruction might make of them.

    Parameters
    ----------
    image
        `(y, x)`, its maximum 1.
    count
        How many.
    dtype
        Of both stacks.
    seed
        Seed of shifts, gains, blur and noise.

    Returns
    -------
        Images and references `(count, y, x)`.
    """
    rng = np.random.default_rng(seed)
    references = np.empty((count, *image.shape))
    images = np.empty_like(references)
    for i in range(count):
        shift = rng.integers(0, image.shape)
        references[i] = rng.uniform(0.5, 1) * np.roll(image, shift, (0, 1))
        blurred = ndimage.gaussian_filter(references[i], rng.uniform(0.3, 1.5))
        images[i] = np.abs(blurred + rng.uniform(0.005, 0.05) * rng.standard_normal(image.shape))
    return images.astype(dtype), references.astype(dtype)


def with_scikit_image(images: Stack, references: Stack) -> list[tuple[float, float]]:
    """Compute SSIM and PSNR, nothing else, one image after the other.

    Parameters
    ----------
    images
        `(n, y, x)`.
    references
        The same shape.

    Returns
    -------
        Both of each image.
    """
    return [
        (
            float(skimage_metrics.structural_similarity(r, x, data_range=DATA_RANGE)),
            float(skimage_metrics.peak_signal_noise_ratio(r, x, data_range=DATA_RANGE)),
        )
        for x, r in zip(images, references, strict=True)
    ]


def _all_at_once(images: Stack, references: Stack) -> object:
    return score_all(images, references, data_ranges=DATA_RANGE)


SCORERS: dict[str, Scorer] = {
    "score_all": _all_at_once,
    "scikit-image": with_scikit_image,
}


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Time every tool on all images, block by block in random order, and compare the numbers.

    Parameters
    ----------
    request
        See the module.

    Returns
    -------
        `seconds` and `cpu_seconds` of each repeat by tool; of double precision also `differences`,
        the largest ones to scikit-image, fastMRI and `metrics.score` by metric.
    """
    torch.set_num_threads(request["threads"])
    base = np.load(request["image"]).astype(np.float64)
    images, references = pairs(base, request["distinct"], request["dtype"], request["seed"])
    answer: dict[str, Any] = _timed(images, references, request)
    if request["dtype"] == "float64":
        answer["differences"] = differences(images, references)
    return answer


def _timed(images: Stack, references: Stack, request: dict[str, Any]) -> dict[str, Any]:
    order = random.Random(request["seed"])  # noqa: S311 - no secret
    block, total = request["block"], request["images"]
    wall: dict[str, list[float]] = {name: [] for name in SCORERS}
    cpu: dict[str, list[float]] = {name: [] for name in SCORERS}
    for scorer in SCORERS.values():
        scorer(images[:block], references[:block])
    for _ in range(request["repeats"]):
        spent = {name: [0.0, 0.0] for name in SCORERS}
        for begin in range(0, total, block):
            chosen = np.arange(begin, min(begin + block, total)) % len(images)
            x, r = images[chosen], references[chosen]
            for name in order.sample(list(SCORERS), len(SCORERS)):
                start, cpu_start = time.perf_counter(), time.process_time()
                SCORERS[name](x, r)
                spent[name][0] += time.perf_counter() - start
                spent[name][1] += time.process_time() - cpu_start
        for name, (seconds, cpu_seconds) in spent.items():
            wall[name].append(seconds)
            cpu[name].append(cpu_seconds)
    return {"seconds": wall, "cpu_seconds": cpu}


def differences(images: Stack, references: Stack) -> dict[str, dict[str, float]]:
    """Return the largest absolute differences of `score_all` to each definition.

    Parameters
    ----------
    images
        `(n, y, x)`, float64.
    references
        The same shape.

    Returns
    -------
        By definition and metric; PSNR in dB, fastMRI's NMSE is the square of NRMSE.
    """
    found = score_all(images, references, data_ranges=DATA_RANGE)
    rows: dict[str, list[dict[str, float]]] = {"scikit-image": [], "fastmri": [], "metrics": []}
    for x, r in zip(images, references, strict=True):
        ssim, psnr = with_scikit_image(x[None], r[None])[0]
        nrmse = skimage_metrics.normalized_root_mse(r, x, normalization="euclidean")
        rows["scikit-image"].append(
            {"ssim": ssim, "psnr_db": psnr, "nrmse": float(nrmse),
             "blur_effect": float(skimage_measure.blur_effect(x))}
        )  # fmt: skip
        rows["fastmri"].append(_with_fastmri(x, r))
        scores = score(x, r, data_range=DATA_RANGE)
        rows["metrics"].append({name: getattr(scores, name) for name in found})
    squared = {**found, "nmse": found["nrmse"] ** 2}
    return {
        tool: {
            name: max(abs(row[name] - float(squared[name][i])) for i, row in enumerate(of_tool))
            for name in of_tool[0]
        }
        for tool, of_tool in rows.items()
    }


def _with_fastmri(x: Stack, reference: Stack) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it imports
        from fastmri import evaluate
    pair = reference[None], x[None]
    return {
        "ssim": float(evaluate.ssim(*pair, maxval=DATA_RANGE)[0]),
        "psnr_db": float(evaluate.psnr(*pair, maxval=DATA_RANGE)),
        "nmse": float(evaluate.nmse(*pair)),
    }


if __name__ == "__main__":
    answer_one(measure)
