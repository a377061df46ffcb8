"""Training of NCPR and CPR: denoising, differentiated through its solution."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from lowfield_recon.errors import DataError, UsageError
from lowfield_recon.learning.image_set import ImageSet, load_images
from lowfield_recon.learning.patch_crops import (
    centre,
    grey_levels,
    large_enough,
    random_crop,
    start_from_patches,
)
from lowfield_recon.learning.patch_implicit import ImplicitReport, ImplicitSettings, denoise
from lowfield_recon.learning.patch_prior import (
    ARCHITECTURE_VERSION,
    POTENTIALS,
    PatchPrior,
    PatchPriorSettings,
    load_patch_prior,
)
from lowfield_recon.learning.patch_settings import PatchTaskSettings
from lowfield_recon.learning.tasks import checked
from lowfield_recon.learning.training_task import describe_training

_WHITE = 255.0
_STRIDE = 1_000_003


class PatchTask:
    """Crops, model and loss of a training.

    Parameters
    ----------
    method
        `"ncpr"` or `"cpr"`.
    settings
        Everything but the optimiser.
    images
        Images of all subjects, real, from 0 to 1.
    device
        Where to compute.

    Raises
    ------
    UsageError
        If nobody would be held out or left to train on.
    DataError
        If the images are too small.
    """

    def __init__(
        self, method: str, settings: PatchTaskSettings, images: ImageSet, device: torch.device
    ) -> None:
        self.name = method
        self.settings = settings
        self.device = device
        rest, self.tested = images, None
        if settings.data.tested:
            rest, self.tested = images.split(settings.data.tested, settings.data.split_seed)
        self.images, self.held_out = rest.split(settings.data.held_out, settings.data.split_seed)
        self._sources = large_enough(self.images, settings.examples.crop)
        self._centres = self._validation_images()
        self.model = PatchPrior(settings.model, seed=settings.seed)
        if settings.start == "patches":
            start_from_patches(self.model, self._sources, seed=settings.seed)
        elif settings.start != "gaussian":
            self.model = _go_on_from(settings.start, method, settings.model)
        self.model.to(device)
        self._report: ImplicitReport | None = None
        self._solve = ImplicitSettings(**settings.solve.model_dump())

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw the noisy and clean crops of a step; they depend on seed and step only.

        Parameters
        ----------
        step
            Number of the step.

        Returns
        -------
            Noisy and clean crops, float32, `(batch_size, crop, crop)`.
        """
        settings = self.settings
        generator = torch.Generator().manual_seed(settings.seed * _STRIDE + step)
        cut = settings.examples
        crops = [
            random_crop(self._sources, cut.crop, cut.turned, generator)
            for _ in range(settings.batch_size)
        ]
        clean = torch.stack(crops)
        noise = torch.randn(clean.shape, generator=generator)
        noisy = clean + settings.noise / _WHITE * noise
        return noisy.to(self.device), clean.to(self.device)

    def loss(self, step: int) -> torch.Tensor:
        """Return the mean absolute error of the crops of a step.

        Parameters
        ----------
        step
            Number of the step.

        Returns
        -------
            A number with its gradient.
        """
        noisy, clean = self.batch(step)
        image = denoise(noisy, self.model(), self._solve, report=self._keep_report)
        return (image - clean).abs().mean()

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return how the present weights denoise held-out images, and what became of them.

        Returns
        -------
            `loss`, the mean absolute error; `psnr` [dB], peak 1, of the image clamped to 0 to 1,
            mean over the images; `beta`; `overlap`, the largest product of a smooth vector and an
            atom of length 1; and iterations of the last training step, where there was one.
        """
        regularizer = self.model.regularizer()
        regularizer = regularizer.to(torch.float32, self.device)
        settings = replace(self._solve, tolerance=self.settings.validation.tolerance)
        losses, ratios = [], []
        for noisy, clean in self._centres:
            target = clean.to(self.device)
            image = denoise(noisy.to(self.device)[None], regularizer, settings)[0]
            losses.append(float((image - target).abs().mean()))
            error = float((image.clamp(0, 1) - target).square().mean())
            ratios.append(-10 * math.log10(max(error, 1e-30)))
        figures = {
            "loss": math.fsum(losses) / len(losses),
            "psnr": math.fsum(ratios) / len(ratios),
            "beta": float(regularizer.beta),
            "overlap": self._overlap(),
        }
        if self._report is not None:
            figures["iterations"] = self._report.iterations
            figures["backward_iterations"] = self._report.backward_iterations
            figures["unsolved"] = float(
                self._report.unconverged + self._report.backward_unconverged
            )
        return figures

    def parameter_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """Return what the optimiser moves: atoms, and scales and beta faster and without decay.

        Parameters
        ----------
        learning_rate
            Learning rate of the atoms.
        weight_decay
            Their weight decay, which changes nothing but their length, and so the later steps.

        Returns
        -------
            Groups as `torch.optim` takes them.
        """
        slow = [self.model.scaling, self.model.beta]
        return [
            {
                "params": [p for p in self.model.parameters() if all(p is not s for s in slow)],
                "lr": learning_rate,
                "weight_decay": weight_decay,
            },
            {"params": slow, "lr": learning_rate * self.settings.scale_rate, "weight_decay": 0.0},
        ]

    def header(self) -> dict[str, Any]:
        """Return what weights are made for: method, architecture and its version.

        Returns
        -------
            JSON.
        """
        return {
            "method": self.name,
            "architecture": self.settings.model.model_dump(mode="json"),
            "architecture_version": ARCHITECTURE_VERSION,
        }

    def card(self) -> dict[str, Any]:
        """Return where the weights come from.

        Returns
        -------
            JSON.
        """
        card = describe_training(self.settings, self.model, self.images, self.held_out, self.tested)
        # Of a file only its name: a card tells nothing of the machine.
        card["settings"]["start"] = Path(self.settings.start).name
        return card

    def _keep_report(self, report: ImplicitReport) -> None:
        self._report = report

    def _overlap(self) -> float:
        smooth = self.model.smooth_basis().flatten(1).cpu().double()
        dictionary = self.model.regularizer(dtype=torch.float64).dictionary.flatten(1).cpu()
        dictionary = functional.normalize(dictionary, dim=1)
        constant = torch.full((1, smooth.shape[1]), smooth.shape[1] ** -0.5, dtype=torch.float64)
        return float((torch.cat([smooth, constant]) @ dictionary.mT).abs().max())

    def _validation_images(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        settings = self.settings
        generator = torch.Generator().manual_seed(settings.seed * _STRIDE + _STRIDE - 1)
        block = settings.model.block if settings.model.potential == "group" else 1
        found = []
        for subject in self.held_out.subjects[: settings.validation.n_images]:
            slices = self.held_out.images[subject]
            clean = centre(slices[len(slices) // 2], settings.validation.crop, block)
            if min(clean.shape) < settings.model.patch:
                raise DataError(
                    f"{subject}: {clean.shape[0]} x {clean.shape[1]} pixels are fewer than a patch "
                    f"of {settings.model.patch}; hold out larger images."
                )
            noise = torch.randn(clean.shape, generator=generator)
            found.append((clean + settings.noise / _WHITE * noise, clean))
        return found


def _go_on_from(source: str, method: str, settings: PatchPriorSettings) -> PatchPrior:
    """Return trained weights to go on from, of the architecture of the configuration."""
    found = load_patch_prior(source, method=method)
    own, theirs = settings.model_dump(), found.settings.model_dump()
    # The first beta of a fresh model says nothing about a trained one.
    different = sorted(key for key in own if key != "initial_beta" and own[key] != theirs[key])
    if different:
        key = different[0]
        raise UsageError(
            f"start: {found.name} has model.{key} = {theirs[key]}, the configuration {own[key]}; "
            "expected the same model. Take its settings, or begin with 'start: patches'."
        )
    return found.train()


def make_ncpr_task(
    config: Mapping[str, Any], images: Sequence[Path], device: torch.device
) -> PatchTask:
    """Read the settings and the images of a training of NCPR.

    Parameters
    ----------
    config
        Settings by name, see `PatchTaskSettings`.
    images
        Files or folders of images.
    device
        Where to compute.

    Returns
    -------
        The task.

    Raises
    ------
    UsageError
        If a setting is wrong.
    DataError
        If an image is.
    """
    return _make_task("ncpr", config, images, device)


def make_cpr_task(
    config: Mapping[str, Any], images: Sequence[Path], device: torch.device
) -> PatchTask:
    """Read the settings and the images of a training of CPR.

    Parameters
    ----------
    config
        Settings by name, see `PatchTaskSettings`.
    images
        Files or folders of images.
    device
        Where to compute.

    Returns
    -------
        The task.

    Raises
    ------
    UsageError
        If a setting is wrong.
    DataError
        If an image is.
    """
    return _make_task("cpr", config, images, device)


def _make_task(
    method: str, config: Mapping[str, Any], images: Sequence[Path], device: torch.device
) -> PatchTask:
    potential = POTENTIALS[method]
    model = config.get("model", {})
    if isinstance(model, Mapping):
        config = {**config, "model": {"potential": potential, **model}}
    settings = checked(PatchTaskSettings, config)
    if settings.model.potential != potential:
        raise UsageError(
            f"model.potential: '{settings.model.potential}' is not that of {method}; leave it out, "
            f"or write '{potential}'."
        )
    found = load_images(
        images, slice_axis=settings.data.slice_axis, licence=settings.data.licence,
        source=settings.data.source,
    )  # fmt: skip
    return PatchTask(method, settings, grey_levels(found), device)
