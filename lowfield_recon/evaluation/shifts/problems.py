"""From an object and a condition to the problem that every method is given.

References
----------
Antun V et al. On instabilities of deep learning in image reconstruction and the potential costs of
AI. Proc Natl Acad Sci USA 2020;117:30088-30095. https://doi.org/10.1073/pnas.1907377117
"""

from __future__ import annotations

import hashlib
import math

import torch

from lowfield_recon.errors import UsageError
from lowfield_recon.evaluation.shifts.objects import (
    OBJECT_THRESHOLD,
    lesion_of,
    with_contrast,
    with_lesion,
)
from lowfield_recon.evaluation.shifts.recorded import recorded_problem, recorded_sentences
from lowfield_recon.evaluation.shifts.records import Condition, StudyImage
from lowfield_recon.evaluation.shifts.sampling import recipe_of, sampled
from lowfield_recon.operators import kspace_operator
from lowfield_recon.problem import InverseProblem
from lowfield_recon.simulation import simulate_kspace
from lowfield_recon.simulation.noise import object_mean

_FORMAT = 1


def make_problem(image: StudyImage, condition: Condition, *, seed: int) -> InverseProblem:
    r"""Scan an image under a condition.

    Of an image: ``y = simulate(e^{i turn} shifted(x))``, see `conditions` for the order of what is
    done and `simulation.simulate_kspace` for the scan; its reference is the object with contrast,
    lesion, phase, shading and gain, without motion, off-resonance, interference and noise. Of a
    recorded scan: see `recorded.recorded_problem`. Everything random depends on the seed and on
    names of the image, each effect on a stream of its own, so that the noise, the phase or the
    lesion of an image are the same in every condition that has them.

    Parameters
    ----------
    image
        Object or recorded scan.
    condition
        How it is scanned.
    seed
        Seed of the study, >= 0.

    Returns
    -------
        The problem, with its reference.

    Raises
    ------
    UsageError
        If the image is not of the condition's domain, or the mask does not fit its size.
    DataError
        If the condition changes an object that is known as a recorded scan only.

    Examples
    --------
    >>> from lowfield_recon.evaluation.shifts.conditions import compose
    >>> x = torch.ones(1, 1, 1, 32, 24)
    >>> image = StudyImage(name="a, slice 0", subject="a", domain="squares", pixels=x)
    >>> problem = make_problem(image, compose({"noise": 0.2}), seed=0)
    >>> problem.shape, round(problem.noise_std, 3)
    ((1, 1, 1, 32, 24), 0.2)
    """
    if condition.domain is not None and condition.domain != image.domain:
        raise UsageError(
            f"condition '{condition.name}': expected images of '{condition.domain}', got "
            f"{image.name} of '{image.domain}'."
        )
    own = image_seed(image, seed)
    if image.is_recorded:
        return recorded_problem(image, condition, own)
    settings = condition.settings
    level = settings.noise * float(object_mean(image.pixels, OBJECT_THRESHOLD))
    scan = simulate_kspace(_object(image, condition, own), recipe_of(settings, image, level, own))
    data, mask = sampled(scan.kspace, scan.mask, settings)
    maps = scan.coil_maps if settings.coils > 1 else None
    return InverseProblem(
        data=data,
        operator=kspace_operator(mask=mask, coil_maps=maps),
        noise_std=float(scan.noise_std),
        reference=scan.image,
    )


def lesion_weight(image: StudyImage, condition: Condition, *, seed: int) -> torch.Tensor:
    """Tell where `make_problem` puts a lesion, to look at that place on its own.

    Parameters
    ----------
    image
        Object.
    condition
        Condition; where it has no lesion the weight is that of other conditions all the same.
    seed
        Seed of the study.

    Returns
    -------
        Weight, float32, 0 to 1, `(1, 1, 1, y, x)`.

    Examples
    --------
    >>> from lowfield_recon.evaluation.shifts.conditions import compose
    >>> x = torch.ones(1, 1, 1, 64, 64)
    >>> image = StudyImage(name="a, slice 0", subject="a", domain="squares", pixels=x)
    >>> bool(lesion_weight(image, compose({"lesion": 0.8}), seed=0).max() == 1)
    True
    """
    generator = _own_stream(image_seed(image, seed), "lesion")
    return lesion_of(image.pixels, condition.settings.lesion_radius, generator)


def assumptions(image: StudyImage, condition: Condition) -> tuple[str, ...]:
    """Say what is not as the condition states, one sentence each.

    Parameters
    ----------
    image
        Object or recorded scan.
    condition
        Condition.

    Returns
    -------
        Sentences; none for an image.

    Examples
    --------
    >>> from lowfield_recon.evaluation.shifts.conditions import reference_condition
    >>> pixels = torch.ones(1, 1, 1, 8, 8, dtype=torch.complex64)
    >>> scan = StudyImage(name="a", subject="a", domain="b", pixels=pixels, noise_std=0.2)
    >>> len(assumptions(scan, reference_condition()))
    2
    """
    return recorded_sentences(image, condition) if image.is_recorded else ()


def image_seed(image: StudyImage, seed: int) -> int:
    """Return the seed of everything random of an image: it depends on its names, not on its pixels.

    Parameters
    ----------
    image
        Object or recorded scan.
    seed
        Seed of the study, >= 0.

    Returns
    -------
        Seed below 2^60.

    Raises
    ------
    UsageError
        If the seed is negative.

    Examples
    --------
    >>> x = torch.ones(1, 1, 1, 4, 4)
    >>> a, b = (StudyImage(name=n, subject="a", domain="b", pixels=x) for n in ("1", "2"))
    >>> image_seed(a, 0) == image_seed(b, 0)
    False
    """
    if seed < 0:
        raise UsageError(f"seed: expected a number of at least 0, got {seed}.")
    words = (_FORMAT, "study", seed, image.domain, image.subject, image.name)
    return int(hashlib.sha256(repr(words).encode()).hexdigest()[:15], 16)


def _own_stream(seed: int, name: str) -> torch.Generator:
    """Return the random numbers of an effect that a scan does not know."""
    return torch.Generator().manual_seed(
        int(hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()[:15], 16)
    )


def _object(image: StudyImage, condition: Condition, seed: int) -> torch.Tensor:
    settings = condition.settings
    x = with_contrast(image.pixels, exponent=settings.contrast, inversion=settings.inversion)
    if settings.lesion != 0:
        weight = lesion_of(image.pixels, settings.lesion_radius, _own_stream(seed, "lesion"))
        x = with_lesion(x, weight, settings.lesion)
    turn = 2 * math.pi * torch.rand((), generator=_own_stream(seed, "turn"), dtype=torch.float64)
    return torch.polar(torch.ones(()), turn.float()) * x
