"""What can be trained, by the name of the method, and the settings of its configuration file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from lowfield_recon.errors import UsageError, nearest_name
from lowfield_recon.learning.schedule import FitSettings

if TYPE_CHECKING:
    import torch

    from lowfield_recon.learning.trainer import TrainingTask

Model = TypeVar("Model", bound=BaseModel)

TASKS = {
    "cdl-lambda": "lowfield_recon.learning.cdl_lambda_task",
    "cpr": "lowfield_recon.learning.patch_task:make_cpr_task",
    "modl": "lowfield_recon.learning.comparator_task:make_modl_task",
    "ncpr": "lowfield_recon.learning.patch_task:make_ncpr_task",
    "srdensenet": "lowfield_recon.learning.comparator_task:make_srdensenet_task",
    "tv-lambda": "lowfield_recon.learning.comparator_task:make_tv_lambda_task",
    "unet": "lowfield_recon.learning.comparator_task:make_unet_task",
    "varnet": "lowfield_recon.learning.comparator_task:make_varnet_task",
}
"""Method, and the module (and name, if not `make_task`) of what makes its training task."""


def make_task(
    method: str, config: Mapping[str, Any], images: Sequence[Path], device: torch.device
) -> TrainingTask:
    """Make the training task of a method.

    Parameters
    ----------
    method
        Name of the method.
    config
        The configuration without its section `fit`; `seed` is that of `fit` unless it is given.
    images
        Files and folders of images.
    device
        Where to compute.

    Returns
    -------
        The task.

    Raises
    ------
    UsageError
        If there is no such method, or a setting is wrong.
    DataError
        If an image is.

    Examples
    --------
    >>> import torch
    >>> make_task("cdl-lamda", {}, [], torch.device("cpu"))
    Traceback (most recent call last):
        ...
    lowfield_recon.errors.UsageError: method 'cdl-lamda': nothing to train. Did you mean \
'cdl-lambda'? Known: cdl-lambda, cpr, modl, ncpr, srdensenet, tv-lambda, unet, varnet.
    """
    check_method(method)
    own = {"seed": fit_settings(config).seed, **config}
    own.pop("fit", None)
    module, _, name = TASKS[method].partition(":")
    make = getattr(import_module(module), name or "make_task")
    task: TrainingTask = make(own, list(images), device)
    return task


def check_method(method: str) -> None:
    """Check that there is a training of a method.

    Parameters
    ----------
    method
        Name of the method.

    Raises
    ------
    UsageError
        If there is none; the message lists those that there are.

    Examples
    --------
    >>> check_method("cdl-lambda")
    """
    if method not in TASKS:
        hint = nearest_name(method, sorted(TASKS))
        raise UsageError(f"method '{method}': nothing to train. {hint}")


def fit_settings(config: Mapping[str, Any]) -> FitSettings:
    """Return the settings of the training loop.

    Parameters
    ----------
    config
        The configuration; its section `fit` may be missing.

    Returns
    -------
        The settings.

    Raises
    ------
    UsageError
        If one of them is wrong.

    Examples
    --------
    >>> fit_settings({"fit": {"steps": 10, "averaging": 0.99}}).steps
    10
    >>> fit_settings({"fit": {"step": 10}})
    Traceback (most recent call last):
        ...
    lowfield_recon.errors.UsageError: fit.step: is no setting. Did you mean 'steps'? Known: \
accumulate, averaging, checkpoint_every, final_rate, gradient_clip, learning_rate, max_hours, \
schedule, seed, steps, validate_every, warmup_steps, weight_decay.
    """
    return checked(FitSettings, config.get("fit", {}), "fit")


def checked(model: type[Model], content: object, section: str = "") -> Model:
    """Turn a part of a configuration into checked settings.

    Parameters
    ----------
    model
        What it must hold.
    content
        What it holds.
    section
        Its name, for the message.

    Returns
    -------
        The settings.

    Raises
    ------
    UsageError
        If it does not fit; names the first setting that is wrong.

    Examples
    --------
    >>> checked(FitSettings, {"learning_rate": -1}, "fit")
    Traceback (most recent call last):
        ...
    lowfield_recon.errors.UsageError: fit.learning_rate: input should be greater than 0, got -1.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in (section, *first["loc"]) if part != "")
        more = f" ({error.error_count() - 1} more to mend)" if error.error_count() > 1 else ""
        if first["type"] == "extra_forbidden":
            hint = nearest_name(str(first["loc"][-1]), _names_at(model, first["loc"][:-1]))
            raise UsageError(f"{place}: is no setting. {hint}{more}") from error
        said = first["msg"].removeprefix("Value error, ")
        text = f"{said[0].lower()}{said[1:]}"
        given = "" if first["type"] == "value_error" else f", got {first['input']!r}"
        raise UsageError(f"{place or 'configuration'}: {text}{given}.{more}") from error


def _names_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Return the settings that there are at a place."""
    for part in location:
        field = model.model_fields.get(str(part))
        inner = None if field is None else field.annotation
        if not isinstance(inner, type) or not issubclass(inner, BaseModel):
            return []
        model = inner
    return sorted(model.model_fields)
