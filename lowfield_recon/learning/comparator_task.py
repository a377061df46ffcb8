"""Training of the comparators, on the examples and with the losses of CDL-Lambda."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel

from lowfield_recon.errors import UsageError
from lowfield_recon.learning.comparator_settings import ComparatorTaskSettings
from lowfield_recon.learning.comparators import ARCHITECTURE_VERSION, COMPARATORS, ComparatorModel
from lowfield_recon.learning.examples import Batch, draw_batch, validation_batches
from lowfield_recon.learning.image_set import ImageSet, load_images
from lowfield_recon.learning.losses import (
    image_loss,
    peak_signal_to_noise,
    structural_similarity,
)
from lowfield_recon.learning.measured import Measured
from lowfield_recon.learning.tasks import checked
from lowfield_recon.learning.training_task import describe_training

_SCALARS = ("raw_weight", "raw_steps", "raw_scale", "noise_slope", "dc_weight")


class ComparatorTask:
    """Examples, model and loss of a training.

    Parameters
    ----------
    method
        Name of the method.
    architecture
        Settings of its network.
    settings
        Everything else but the optimiser.
    images
        Images of all subjects.
    device
        Where to compute.
    """

    def __init__(
        self,
        method: str,
        architecture: BaseModel,
        settings: ComparatorTaskSettings,
        images: ImageSet,
        device: torch.device,
    ) -> None:
        self.name = method
        self.architecture = architecture
        self.settings = settings
        self.device = device
        self.model = ComparatorModel(method, architecture, seed=settings.seed).to(device)
        data, self.tested = settings.data, None
        rest = images
        if data.tested:
            rest, self.tested = images.split(data.tested, data.split_seed)
        self.images, self.held_out = rest.split(data.held_out, data.split_seed)
        self._validation: list[Batch] | None = None

    def loss(self, step: int) -> torch.Tensor:
        """Return the loss of a step; its examples depend on its number only.

        Parameters
        ----------
        step
            Number of the step.

        Returns
        -------
            A number with its gradient.
        """
        settings = self.settings
        batch = draw_batch(
            self.images, settings.examples, seed=settings.seed, step=step,
            size=settings.batch_size,
        ).to(self.device)  # fmt: skip
        return image_loss(self.reconstruct(batch), batch.target, batch.noise_std, settings.loss)

    def reconstruct(self, batch: Batch) -> torch.Tensor:
        """Reconstruct the images of a batch.

        Parameters
        ----------
        batch
            Data.

        Returns
        -------
            Images `(planes, y, x)`, complex, differentiable in the parameters of the model.
        """
        image: torch.Tensor = self.model(Measured.of_batch(batch))
        return image

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return the figures on held-out subjects, mean over settings.

        Returns
        -------
            `loss`, `psnr` [dB] and `ssim`.
        """
        settings = self.settings
        if self._validation is None:
            self._validation = validation_batches(
                self.held_out, settings.examples, seed=settings.seed + 1,
                snrs=settings.validation.snrs, windows=settings.validation.windows,
                n_coils=max(settings.examples.coils), n_subjects=settings.validation.n_subjects,
            )  # fmt: skip
        rows = []
        for batch in (b.to(self.device) for b in self._validation):
            image = self.reconstruct(batch)
            loss = image_loss(image, batch.target, batch.noise_std, settings.loss)
            ratio = peak_signal_to_noise(image, batch.target).mean()
            rows.append((loss, ratio, structural_similarity(image, batch.target).mean()))
        names = ("loss", "psnr", "ssim")
        return {
            name: math.fsum(float(row[i]) for row in rows) / len(rows)
            for i, name in enumerate(names)
        }

    def parameter_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """Return what the optimiser moves: the network, and single numbers faster, without decay.

        Parameters
        ----------
        learning_rate
            Learning rate of the network.
        weight_decay
            Its weight decay.

        Returns
        -------
            Groups as `torch.optim` takes them.
        """
        named = list(self.model.named_parameters())
        is_scalar = {name: name.rpartition(".")[2] in _SCALARS for name, _ in named}
        groups: list[dict[str, Any]] = [
            {
                "params": [p for name, p in named if not is_scalar[name]],
                "lr": learning_rate,
                "weight_decay": weight_decay,
            },
            {
                "params": [p for name, p in named if is_scalar[name]],
                "lr": learning_rate * self.settings.scalar_rate,
                "weight_decay": 0.0,
            },
        ]
        return [group for group in groups if group["params"]]

    def header(self) -> dict[str, Any]:
        """Return what weights are made for: method, architecture and its version.

        Returns
        -------
            JSON.
        """
        return {
            "method": self.name,
            "architecture": self.architecture.model_dump(mode="json"),
            "architecture_version": ARCHITECTURE_VERSION,
        }

    def card(self) -> dict[str, Any]:
        """Return where the weights come from.

        Returns
        -------
            JSON.
        """
        return describe_training(self.settings, self.model, self.images, self.held_out, self.tested)


def make_comparator_task(
    method: str, config: Mapping[str, Any], images: Sequence[Path], device: torch.device
) -> ComparatorTask:
    """Read the settings and the images of a training; see `ComparatorTaskSettings`.

    Parameters
    ----------
    method
        Name of the method.
    config
        Settings by name.
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
    settings = checked(ComparatorTaskSettings, config)
    architecture = checked(COMPARATORS[method].settings, settings.model, "model")
    is_multi_coil = getattr(architecture, "kind", None) == "multi-coil"
    if is_multi_coil and any(n < 2 for n in settings.examples.coils):
        raise UsageError(
            "examples.coils: a sensitivity network needs at least 2 coils in every example, got "
            f"{list(settings.examples.coils)}; set for example examples.coils=[4]."
        )
    found = load_images(
        images, slice_axis=settings.data.slice_axis, licence=settings.data.licence,
        source=settings.data.source,
    )  # fmt: skip
    return ComparatorTask(method, architecture, settings, found, device)


make_modl_task = partial(make_comparator_task, "modl")
make_srdensenet_task = partial(make_comparator_task, "srdensenet")
make_tv_lambda_task = partial(make_comparator_task, "tv-lambda")
make_unet_task = partial(make_comparator_task, "unet")
make_varnet_task = partial(make_comparator_task, "varnet")
