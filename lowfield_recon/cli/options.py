"""Options that several commands share, and how their words become values."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, get_args

import typer

from lowfield_recon.errors import UsageError

MaskKind = Literal[
    "random",
    "regular",
    "poisson-disc",
    "fastmri-random",
    "fastmri-equispaced",
    "fastmri-equispaced-fraction",
    "fastmri-magic",
    "fastmri-magic-fraction",
]
"""Words of `lowfield_recon.prepare.undersampling.MaskKind`, which cannot be imported lightly."""

MASK_WORDS = ", ".join(get_args(MaskKind))

AxesOption = Annotated[
    str | None,
    typer.Option(
        help='Axes of a raw array in its own order, e.g. "y x slice"; x is the readout. '
        "Words: x y z coil slice repetition contrast.",
    ),
]
KeyOption = Annotated[
    str | None, typer.Option(help="Name of the array inside a .mat, .npz or HDF5 file.")
]
ImageSpaceOption = Annotated[
    bool, typer.Option("--image-space", help="The raw array holds coil images, not k-space.")
]
FieldStrengthOption = Annotated[
    float | None, typer.Option(help="Main field in T, where the file does not say.", min=0)
]
FovOption = Annotated[
    str | None,
    typer.Option(
        metavar="MM...",
        help="Field of view in mm along x y [z], where the file does not say: --fov 220 220 5",
    ),
]
MatrixOption = Annotated[
    str | None,
    typer.Option(
        metavar="N...",
        help="Image size along x y [z] of a raw non-Cartesian scan: --matrix 256 256",
    ),
]
TrajectoryOption = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="Name of the trajectory's array inside the file."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
MethodOption = Annotated[
    str, typer.Option(metavar="NAME", help="Method; see `lowfield-recon methods`.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="A setting of the method; may be given repeatedly."
    ),
]
DictionaryOption = Annotated[
    str | None, typer.Option(metavar="D", help="Dictionary's name or path, for methods with one.")
]
DeviceOption = Annotated[str, typer.Option(help="Where to compute: auto, cpu or cuda.")]


def parse_settings(words: list[str] | None) -> dict[str, Any]:
    """Turn `--set key=value` words into settings.

    Parameters
    ----------
    words
        Words such as `"iterations=50"`.

    Returns
    -------
        Setting and value: an integer, a number, a boolean, None, or the text itself.

    Raises
    ------
    UsageError
        If a word is not of that form, or names a setting twice.

    Examples
    --------
    >>> parse_settings(["iterations=50", "tolerance=1e-3", "wavelet=db4", "budget=none"])
    {'iterations': 50, 'tolerance': 0.001, 'wavelet': 'db4', 'budget': None}
    """
    settings: dict[str, Any] = {}
    for word in words or []:
        key, separator, value = word.partition("=")
        key = key.strip().replace("-", "_")
        if not separator or not key:
            raise UsageError(f"--set {word}: expected key=value, e.g. --set iterations=50.")
        if key in settings:
            raise UsageError(f"--set {word}: '{key}' is given twice; keep one of them.")
        settings[key] = parse_value(value.strip())
    return settings


def add_dictionary(settings: dict[str, Any], dictionary: str | None, method: str) -> None:
    """Put `--dictionary` among the settings of a method that has one.

    Parameters
    ----------
    settings
        What `parse_settings` returned; the dictionary is added to it.
    dictionary
        Name or path, or None.
    method
        Name of the method.

    Raises
    ------
    UsageError
        If it is named twice, or the method takes none.

    Examples
    --------
    >>> settings = {"iterations": 50}
    >>> add_dictionary(settings, "cosine_k7_K48", "cdl")
    >>> settings
    {'iterations': 50, 'dictionary': 'cosine_k7_K48'}
    """
    if dictionary is None:
        return
    if "dictionary" in settings:
        raise UsageError(
            "--dictionary and --set dictionary: the dictionary is given twice; keep one of them."
        )
    from lowfield_recon.reconstructors import methods

    takes_one = {entry.name: "dictionary" in entry.settings for entry in methods()}
    if takes_one.get(method) is False:
        names = ", ".join(name for name, takes in takes_one.items() if takes)
        raise UsageError(
            f"--dictionary {dictionary}: '{method}' takes no dictionary; expected a method that "
            f"does: {names}."
        )
    settings["dictionary"] = dictionary


def parse_value(text: str) -> int | float | bool | str | None:
    """Turn one word into the value it looks like.

    Parameters
    ----------
    text
        The word.

    Returns
    -------
        An integer, a number, a boolean, None, or the text itself.

    Examples
    --------
    >>> [parse_value(word) for word in ("3", "0.5", "true", "none", "db4")]
    [3, 0.5, True, None, 'db4']
    """
    words = {"true": True, "false": False, "none": None, "null": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def parse_seed(text: str) -> int | str:
    """Turn `--seed` into an integer, or leave it as the name of a file.

    Parameters
    ----------
    text
        The word.

    Returns
    -------
        An integer where it is one, else the word.

    Raises
    ------
    UsageError
        If it is negative or empty.

    Examples
    --------
    >>> parse_seed("7"), parse_seed("file1000001.h5")
    (7, 'file1000001.h5')
    """
    word = text.strip()
    if not word or word.startswith("-"):
        raise UsageError(f"--seed {text}: expected an integer of at least 0, or a file's name.")
    return int(word) if word.isdecimal() else word


def parse_matrix(text: str | None) -> tuple[int, int, int] | None:
    """Turn `--matrix` words along x, y and z into a size along z, y, x.

    Parameters
    ----------
    text
        Two or three whole numbers, separated by spaces, commas or `x`; one number counts for x and
        y. z is 1 where it is not given.

    Returns
    -------
        Size (z, y, x), or None without text.

    Raises
    ------
    UsageError
        If these are not one to three whole numbers above 0.

    Examples
    --------
    >>> parse_matrix("256 192")
    (1, 192, 256)
    """
    if text is None:
        return None
    words = text.replace(",", " ").replace("x", " ").split()
    if not 1 <= len(words) <= 3 or not all(word.isdecimal() and int(word) > 0 for word in words):
        raise UsageError(
            f"--matrix {text}: expected one to three whole numbers, e.g. --matrix 256 256."
        )
    sizes = [int(word) for word in words]
    return sizes[2] if len(sizes) == 3 else 1, sizes[min(1, len(sizes) - 1)], sizes[0]


def parse_fov(text: str | None) -> tuple[float | None, float, float] | None:
    """Turn `--fov` words in mm along x, y and z into metres along z, y, x.

    Parameters
    ----------
    text
        Two or three numbers, separated by spaces, commas or `x`; one number counts for x and y.

    Returns
    -------
        Field of view (z, y, x) [m], z None where it was not given; None without text.

    Raises
    ------
    UsageError
        If these are not one to three positive numbers.

    Examples
    --------
    >>> parse_fov("220 200 5")
    (0.005, 0.2, 0.22)
    >>> parse_fov("220")
    (None, 0.22, 0.22)
    """
    if text is None:
        return None
    words = text.replace(",", " ").replace("x", " ").split()
    try:
        extents = [float(word) / 1000 for word in words]
    except ValueError:
        extents = []
    if not 1 <= len(extents) <= 3 or not all(math.isfinite(e) and e > 0 for e in extents):
        raise UsageError(
            f"--fov {text}: expected one to three lengths in mm, e.g. --fov 220 220 5."
        )
    x, y = extents[0], extents[min(1, len(extents) - 1)]
    return extents[2] if len(extents) == 3 else None, y, x
