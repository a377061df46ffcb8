"""What is recorded of the images of a scan: figures, scores, and the oracle's beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any

from lowfield_recon.evaluation.metrics import Scores, score
from lowfield_recon.evaluation.oracle import NOTE
from lowfield_recon.manifest import describe_result
from lowfield_recon.problem import InverseProblem, Reconstruction
from lowfield_recon.scan.problems import Problems
from lowfield_recon.scan.records import ImageIndex, Scan


@dataclass(slots=True)
class Log:
    """What is recorded while images are made."""

    images: list[dict[str, Any]] = field(default_factory=list)
    """One record per image."""

    scores: list[Scores] = field(default_factory=list)
    """Scores of the images that have a reference."""

    oracles: list[Mapping[str, Any]] = field(default_factory=list)
    """The oracle's figures of the images that have them."""

    def add(
        self,
        counters: ImageIndex,
        problem: InverseProblem,
        result: Reconstruction,
        oracle: Mapping[str, Any] | None = None,
    ) -> Reconstruction:
        """Record one image.

        Parameters
        ----------
        counters
            Which image of the scan it is.
        problem
            The problem, with its reference where there is one.
        result
            What the method made of it.
        oracle
            The oracle's figures, or None.

        Returns
        -------
            The result.
        """
        record = {"counters": asdict(counters), "noise_std": problem.noise_std}
        record |= describe_result(result)
        if problem.reference is not None:
            peak = float(problem.reference.abs().max())
            self.scores.append(score(result.image, problem.reference, data_range=peak))
            record["score"] = asdict(self.scores[-1])
        if oracle is not None:
            self.oracles.append(oracle)
            record["oracle"] = dict(oracle)
        self.images.append(record)
        return result


def record_of(method: str, scan: Scan, problems: Problems, log: Log) -> dict[str, Any]:
    """Return what the JSON says of all images together, and of each.

    Parameters
    ----------
    method
        Name of the method.
    scan
        The file.
    problems
        What was made of it.
    log
        What was recorded.

    Returns
    -------
        Results for `write_manifest`.
    """
    images = log.images
    results: dict[str, Any] = {
        "method": method,
        "settings": images[0]["settings"],
        "seed": images[0]["seed"],
        "device": images[0]["device"],
        "seconds": round(sum(image["seconds"] for image in images), 4),
        "noise_std": images[0]["noise_std"],
        "stopping_reason": images[0]["diagnostics"].get("stopping_reason"),
        "data_range": [
            min(image["data_range"][0] for image in images),
            max(image["data_range"][1] for image in images),
        ],
        "repairs": scan.repairs,
        "assumptions": scan.assumptions,
        "steps": problems.steps,
        "data_divided_by": problems.scale,
    }
    if log.scores:
        results["mean_score_against_full_reconstruction"] = _mean_scores(log.scores)
    if log.oracles:
        iterations = [entry["iteration"] for entry in log.oracles]
        results["oracle"] = {
            "psnr_db": fmean(entry["psnr_db"] for entry in log.oracles),
            "iteration": iterations[0] if len(iterations) == 1 else iterations,
            "note": NOTE if len(iterations) == 1 else f"mean over the images; {NOTE}",
        }
    results["images"] = images
    return results


def score_line(log: Log) -> str:
    """Say the mean scores, and the oracle's beside them.

    Parameters
    ----------
    log
        What was recorded, with at least one score.

    Returns
    -------
        One line.
    """
    mean = _mean_scores(log.scores)
    line = (
        f"against the reconstruction from all data, itself noisy: PSNR {mean['psnr_db']:.2f} dB, "
        f"SSIM {mean['ssim']:.4f}, NRMSE {mean['nrmse']:.4f} (mean of {len(log.scores)} images)"
    )
    return line + oracle_words(log.oracles)


def oracle_words(oracles: list[Mapping[str, Any]]) -> str:
    """Say the oracle's PSNR after a score, marked as such.

    Parameters
    ----------
    oracles
        What `Oracle.record` returned for each image; may be empty.

    Returns
    -------
        Words to append.

    Examples
    --------
    >>> oracle_words([{"psnr_db": 31.5, "iteration": 40}])
    '; oracle (best iterate, chosen with the reference, not written): PSNR 31.50 dB'
    """
    if not oracles:
        return ""
    best = fmean(entry["psnr_db"] for entry in oracles)
    return f"; oracle (best iterate, chosen with the reference, not written): PSNR {best:.2f} dB"


def _mean_scores(scores: list[Scores]) -> dict[str, float]:
    names = ("psnr_db", "ssim", "nrmse", "hfen", "blur_effect")
    return {name: fmean(getattr(entry, name) for entry in scores) for name in names}
