"""Methods by name: those of this package and those that other packages plug in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic import ValidationError

from lowfield_recon.errors import UsageError, nearest_name
from lowfield_recon.problem import InverseProblem, ProgressCallback, Reconstruction
from lowfield_recon.reconstructors.base import Reconstructor

GROUP = "lowfield_recon.reconstructors"
"""Entry-point group under which other packages offer a `Reconstructor` subclass."""

_BUILT_IN = {
    "adjoint": "lowfield_recon.reconstructors.adjoint:Adjoint",
    "cdl": "lowfield_recon.reconstructors.cdl:Cdl",
    "cdl-lambda": "lowfield_recon.reconstructors.cdl_lambda:CdlLambda",
    "cg-sense": "lowfield_recon.reconstructors.cg_sense:CgSense",
    "cpr": "lowfield_recon.reconstructors.cpr:Cpr",
    "dip": "lowfield_recon.reconstructors.dip:DeepImagePrior",
    "mg-spair": "lowfield_recon.reconstructors.mg_spair:MgSpair",
    "modl": "lowfield_recon.reconstructors.modl:Modl",
    "ncpr": "lowfield_recon.reconstructors.ncpr:Ncpr",
    "ngr": "lowfield_recon.reconstructors.ngr:NeuralGradient",
    "srdensenet": "lowfield_recon.reconstructors.srdensenet:Srdensenet",
    "tv": "lowfield_recon.reconstructors.tv:TotalVariation",
    "tv-lambda": "lowfield_recon.reconstructors.tv_lambda:TvLambda",
    "unet": "lowfield_recon.reconstructors.unet:ImageUnet",
    "varnet": "lowfield_recon.reconstructors.varnet:Varnet",
    "wavelet": "lowfield_recon.reconstructors.wavelet:Wavelet",
}


@dataclass(frozen=True, slots=True)
class MethodInfo:
    """What `lowfield-recon methods` shows of a method."""

    name: str
    summary: str
    needs: str
    takes: str
    settings: Mapping[str, str]
    """Setting -> its default and what it means."""
    source: str
    """`"lowfield_recon"`, or the package that plugs it in."""


def _plug_ins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def method_names() -> tuple[str, ...]:
    """Return the names of all methods, without loading them.

    Returns
    -------
        The names, sorted.

    Examples
    --------
    >>> "tv" in method_names()
    True
    """
    return tuple(sorted({*_BUILT_IN, *_plug_ins()}))


def _load(name: str) -> tuple[type[Reconstructor[Any]], str]:
    if name in _BUILT_IN:
        module, attribute = _BUILT_IN[name].split(":")
        return getattr(import_module(module), attribute), "lowfield_recon"
    points = _plug_ins()
    if name not in points:
        raise UsageError(f"method '{name}' is not known. {nearest_name(name, method_names())}")
    point = points[name]
    source = point.dist.name if point.dist is not None else point.value
    try:
        found = point.load()
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"method '{name}' of the plug-in {source} cannot be loaded ({error}); reinstall or "
            "remove it."
        ) from error
    if not (isinstance(found, type) and issubclass(found, Reconstructor)):
        raise UsageError(
            f"method '{name}' of the plug-in {source}: expected a subclass of "
            f"lowfield_recon.reconstructors.Reconstructor, got {found!r}."
        )
    return found, source


def methods() -> tuple[MethodInfo, ...]:
    """Return what there is to reconstruct with.

    Returns
    -------
        One record per method, sorted by name. A plug-in that cannot be loaded is listed with its
        error.

    Examples
    --------
    >>> print(*(info.name for info in methods() if info.source == "lowfield_recon"))
    adjoint cdl cdl-lambda cg-sense cpr dip mg-spair modl ncpr ngr srdensenet tv tv-lambda unet \
varnet wavelet
    """
    infos = []
    for name in method_names():
        try:
            method, source = _load(name)
        except UsageError as error:
            infos.append(MethodInfo(name, str(error), "", "", {}, "broken plug-in"))
            continue
        settings = {
            key: f"{field.default}: {field.description or key}"
            for key, field in method.settings_type.model_fields.items()
        }
        infos.append(MethodInfo(name, method.summary, method.needs, method.takes, settings, source))
    return tuple(infos)


def create(name: str, settings: Mapping[str, Any] | None = None) -> Reconstructor[Any]:
    """Return a reconstructor by name.

    Parameters
    ----------
    name
        Name of the method.
    settings
        Its settings; values may be text as typed on a command line.

    Returns
    -------
        The reconstructor.

    Raises
    ------
    UsageError
        If method or setting is not known, with the nearest name, or a value is out of range.

    Examples
    --------
    >>> create("tv", {"iterations": "20"}).settings.iterations
    20
    """
    method, _ = _load(name)
    given = dict(settings or {})
    known = tuple(method.settings_type.model_fields)
    for key in given:
        if key not in known:
            raise UsageError(f"{name}: setting '{key}' is not known. {nearest_name(key, known)}")
    try:
        return method(method.settings_type(**given))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{name}: {key} = {first['input']!r}: {first['msg'].lower()}.") from error


def reconstruct(
    problem: InverseProblem,
    method: str = "tv",
    *,
    progress: ProgressCallback | None = None,
    **settings: Any,
) -> Reconstruction:
    """Reconstruct an image with a method by name, its settings given by keyword.

    Parameters
    ----------
    problem
        Data and operator.
    method
        Name of the method; `methods` lists them.
    progress
        Called as `progress(iteration, total, objective)`.
    **settings
        Settings of the method; unknown ones are refused.

    Returns
    -------
        Image with diagnostics, resolved settings and time.

    Raises
    ------
    UsageError
        If method or setting is not known, or a value is out of range.

    Examples
    --------
    >>> import torch
    >>> from lowfield_recon import InverseProblem
    >>> from lowfield_recon.operators import kspace_operator
    >>> mask = torch.ones(1, 1, 1, 8, 1, dtype=torch.bool)
    >>> problem = InverseProblem(
    ...     data=torch.ones(1, 1, 1, 8, 8, dtype=torch.complex64),
    ...     operator=kspace_operator(mask=mask),
    ... )
    >>> reconstruct(problem, "cg-sense", regularization_weight=1.0).image.abs().max()
    tensor(4.)
    """
    return create(method, settings).reconstruct(problem, progress=progress)
