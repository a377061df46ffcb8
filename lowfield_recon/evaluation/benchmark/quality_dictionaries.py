"""The dictionaries of a comparison: by pattern or file, and controls that no image taught."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from lowfield_recon.dictionaries import Dictionary, DictionaryBank, load_dictionary
from lowfield_recon.dictionaries.controls import CONTROL, control_kernels
from lowfield_recon.errors import UsageError, nearest_name

_FILE_ENDINGS = (".safetensors", ".npy", ".pt")


def select_dictionaries(patterns: Sequence[str]) -> tuple[Dictionary, ...]:
    """Find dictionaries by name, pattern or file.

    Parameters
    ----------
    patterns
        Names or patterns such as `brain_K32_*` of the shipped bank, or files; none for the bank.

    Returns
    -------
        The dictionaries, each once; those of the bank sorted by name.

    Raises
    ------
    UsageError
        If a pattern fits none; the message has the nearest name.
    DataError
        If a file holds no dictionary.

    Examples
    --------
    >>> [dictionary.name for dictionary in select_dictionaries(["cosine_*"])]
    ['cosine_k11_K64', 'cosine_k7_K48']
    """
    bank = DictionaryBank()
    names: set[str] = set()
    files = []
    for pattern in patterns or ("*",):
        if pattern.endswith(_FILE_ENDINGS):
            files.append(load_dictionary(pattern))
            continue
        fitting = [name for name in bank.names() if fnmatchcase(name, pattern)]
        if not fitting:
            raise UsageError(
                f"dictionaries: '{pattern}' fits none of the bank. "
                f"{nearest_name(pattern, bank.names())} 'lowfield-recon dictionary list' shows "
                "them."
            )
        names.update(fitting)
    found = (*(bank[name] for name in sorted(names)), *files)
    return tuple({dictionary.sha256(): dictionary for dictionary in found}.values())


def control_dictionaries(model: Dictionary, *, seed: int = 0) -> tuple[Dictionary, Dictionary]:
    """Make two dictionaries of the same size that know nothing of images.

    Parameters
    ----------
    model
        Dictionary whose size is taken, and whose pixels are shuffled.
    seed
        Seed.

    Returns
    -------
        Kernels of white noise with unit norm, and the kernels of `model` with the pixels of each
        shuffled on their own.

    Examples
    --------
    >>> noise, shuffled = control_dictionaries(load_dictionary("cosine_k7_K48"))
    >>> noise.kernels.shape == shuffled.kernels.shape == (48, 7, 7)
    True
    """
    noise, shuffled = control_kernels(model.kernels, seed=seed)
    size = f"K{model.n_kernels}_k{model.kernel_size[0]}"
    return (
        Dictionary(kernels=noise, name=f"{CONTROL}random_{size}"),
        Dictionary(kernels=shuffled, name=f"{CONTROL}shuffled_{model.name}"),
    )


def dictionary_facts(dictionary: Dictionary) -> dict[str, Any]:
    """Return what a table says of a dictionary.

    Parameters
    ----------
    dictionary
        The dictionary.

    Returns
    -------
        Name, family (first word of the name), number and size of the kernels, and the weight
        `lambda` and `beta` that it was learnt with, None where that is not known.

    Examples
    --------
    >>> facts = dictionary_facts(load_dictionary("brain_K16_k9_lam2_beta0.5"))
    >>> facts["K"], facts["kernel"], facts["lambda"], facts["beta"]
    (16, 9, 2.0, 0.5)
    """
    options = dictionary.provenance.get("options")
    options = options if isinstance(options, Mapping) else {}
    return {
        "name": dictionary.name,
        "family": dictionary.name.partition("_")[0],
        "K": dictionary.n_kernels,
        "kernel": dictionary.kernel_size[0],
        "lambda": options.get("weight"),
        "beta": options.get("beta"),
        "sha256": dictionary.sha256(),
    }
