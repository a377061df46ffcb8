"""Training of CDL-Lambda, with another dictionary drawn in each step."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lowfield_recon.dictionaries import Dictionary, DictionaryBank, load_dictionary
from lowfield_recon.errors import UsageError, nearest_name
from lowfield_recon.learning.cdl_lambda import ARCHITECTURE_VERSION, CdlLambdaModel
from lowfield_recon.learning.cdl_lambda_settings import TaskSettings
from lowfield_recon.learning.examples import Batch, draw_batch, validation_batches
from lowfield_recon.learning.image_set import ImageSet, load_images
from lowfield_recon.learning.implicit import implicit_detail
from lowfield_recon.learning.losses import image_loss, peak_signal_to_noise
from lowfield_recon.learning.tasks import checked
from lowfield_recon.learning.training_task import describe_training
from lowfield_recon.learning.unrolling import unrolled_detail
from lowfield_recon.solvers.convolutional_model import FilterSpectra, filter_spectra


class CdlLambdaTask:
    """Examples, model and loss of a training.

    Parameters
    ----------
    settings
        Everything but the optimiser.
    images
        Images of all subjects.
    device
        Where to compute.
    """

    name = "cdl-lambda"

    def __init__(self, settings: TaskSettings, images: ImageSet, device: torch.device) -> None:
        self.settings = settings
        self.device = device
        self.model = CdlLambdaModel(settings.model, seed=settings.seed).to(device)
        rest, self.tested = _split(images, settings.data.tested, settings.data.split_seed)
        self.images, self.held_out = rest.split(settings.data.held_out, settings.data.split_seed)
        self.dictionaries = _dictionaries(settings.dictionaries, settings.excluded_dictionaries)
        self.validation_dictionaries = _dictionaries(settings.validation.dictionaries, ())
        self._validation: list[Batch] | None = None

    def loss(self, step: int) -> torch.Tensor:
        """Return the loss of a step; its examples and dictionary depend on its number only.

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
        )  # fmt: skip
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
        which = int(torch.randint(len(self.dictionaries), (1,), generator=generator))
        batch = batch.to(self.device)
        image = self.reconstruct(batch, self.dictionaries[which])
        return image_loss(image, batch.target, batch.noise_std, settings.loss)

    def reconstruct(self, batch: Batch, dictionary: Dictionary) -> torch.Tensor:
        """Reconstruct the images of a batch.

        Parameters
        ----------
        batch
            Data.
        dictionary
            Any dictionary.

        Returns
        -------
            Images `(planes, y, x)`, complex, differentiable in the parameters of the model.
        """
        if self.settings.model.fidelity == "image":
            batch = as_image_data(batch)
        size = (batch.adjoint.shape[-2], batch.adjoint.shape[-1])
        spectra = filter_spectra(dictionary.kernels.to(self.device), size)
        smooth = self.model.smooth_part(batch.adjoint)
        weights = self.model.maps(
            spectra, batch.adjoint, smooth, batch.eigenvalues, batch.noise_std
        )
        spectrum = torch.fft.fft2(smooth)
        seen = batch.eigenvalues * spectrum if batch.normal is None else batch.normal(spectrum)
        detail = self._detail(batch, spectra, torch.fft.fft2(batch.adjoint) - seen, weights)
        image: torch.Tensor = smooth + torch.fft.ifft2(detail)
        return image

    def _detail(
        self, batch: Batch, spectra: FilterSpectra, rhs: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        unroll, penalty = self.settings.unroll, self.settings.model.penalty
        if unroll.solver == "implicit":
            return implicit_detail(
                spectra, rhs, weights, eigenvalues=batch.eigenvalues,
                iterations=unroll.iterations, penalty=penalty,
            )  # fmt: skip
        return unrolled_detail(
            spectra, rhs, weights,
            eigenvalues=batch.eigenvalues if batch.normal is None else None,
            normal=batch.normal, norm_squared=batch.norm_squared,
            iterations=unroll.iterations, tracked=unroll.tracked,
            restart_momentum=unroll.restart_momentum, solver=unroll.solver,
            momentum=unroll.momentum, penalty=penalty,
        )  # fmt: skip

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return the loss and PSNR on held-out subjects, mean over settings and dictionaries.

        Returns
        -------
            `loss` and `psnr` [dB], and `beta`.
        """
        if self._validation is None:
            self._validation = validation_batches(
                self.held_out, self.settings.examples, seed=self.settings.seed + 1,
                snrs=self.settings.validation.snrs, windows=self.settings.validation.windows,
                n_subjects=self.settings.validation.n_subjects,
            )  # fmt: skip
        losses, ratios = [], []
        for batch in (b.to(self.device) for b in self._validation):
            for dictionary in self.validation_dictionaries:
                image = self.reconstruct(batch, dictionary)
                losses.append(
                    float(image_loss(image, batch.target, batch.noise_std, self.settings.loss))
                )
                ratios.append(float(peak_signal_to_noise(image, batch.target).mean()))
        return {
            "loss": math.fsum(losses) / len(losses),
            "psnr": math.fsum(ratios) / len(ratios),
            "beta": float(self.model.beta()),
        }

    def parameter_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """Return what the optimiser moves: the network, and beta faster and without decay.

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
        return [
            {
                "params": list(self.model.network.parameters()),
                "lr": learning_rate,
                "weight_decay": weight_decay,
            },
            {
                "params": [self.model.raw_beta],
                "lr": learning_rate * self.settings.beta_rate,
                "weight_decay": 0.0,
            },
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
        return {
            **describe_training(self.settings, self.model, self.images, self.held_out, self.tested),
            "dictionary_sha256": {d.name: d.sha256() for d in self.dictionaries},
        }


def as_image_data(batch: Batch) -> Batch:
    """Return the scans as images with white noise: ``y = A^H y``, ``A = I``.

    Parameters
    ----------
    batch
        Scans.

    Returns
    -------
        The same with all eigenvalues one, and the noise that a pixel of ``A^H y`` has.

    Examples
    --------
    >>> from lowfield_recon.learning.example_records import simulate_example, stack_examples
    >>> from lowfield_recon.simulation import Recipe
    >>> recipe = Recipe(window=0.5, snr=10.0)
    >>> batch = stack_examples([simulate_example(torch.ones(16, 16), recipe)])
    >>> (as_image_data(batch).noise_std / batch.noise_std).item()
    0.5
    """
    share = (batch.eigenvalues.mean(dim=(-2, -1)) / batch.norm_squared).sqrt()
    return replace(
        batch,
        adjoint=batch.adjoint / batch.norm_squared,
        eigenvalues=torch.ones_like(batch.eigenvalues),
        noise_std=batch.noise_std / math.sqrt(batch.norm_squared) * share,
        normal=None,
        norm_squared=1.0,
    )


def make_task(
    config: Mapping[str, Any], images: Sequence[Path], device: torch.device
) -> CdlLambdaTask:
    """Read the settings and the images of a training.

    Parameters
    ----------
    config
        Settings by name, see `TaskSettings`.
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
    settings = checked(TaskSettings, config)
    found = load_images(
        images, slice_axis=settings.data.slice_axis, licence=settings.data.licence,
        source=settings.data.source,
    )  # fmt: skip
    return CdlLambdaTask(settings, found, device)


def _dictionaries(names: Sequence[str], excluded: Sequence[str]) -> list[Dictionary]:
    """Load dictionaries by name, path or pattern of names that ship."""
    known = sorted(DictionaryBank())
    found: list[str] = []
    for name in names:
        matching = fnmatch.filter(known, name) if "*" in name else [name]
        if not matching:
            raise UsageError(f"dictionaries: no name matches '{name}'. {nearest_name(name, known)}")
        found += [m for m in matching if not any(fnmatch.fnmatch(m, e) for e in excluded)]
    if not found:
        raise UsageError("dictionaries: all are excluded; leave at least one.")
    return [load_dictionary(name) for name in dict.fromkeys(found)]


def _split(
    images: ImageSet, held_out: int | tuple[str, ...], seed: int
) -> tuple[ImageSet, ImageSet | None]:
    """Part the subjects; nothing is held out where nothing is asked for."""
    if not held_out:
        return images, None
    return images.split(held_out, seed)
