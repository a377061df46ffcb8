"""`lowfield-recon dictionary`: learn one, learn the grid, list, show and compare them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lowfield_recon.cli.options import JsonOption
from lowfield_recon.errors import UsageError
from lowfield_recon.files import check_output_path, require_file

if TYPE_CHECKING:
    from lowfield_recon.dictionaries import Dictionary
    from lowfield_recon.dictionaries.loading import Convention

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

dictionary = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=_CONTEXT,
    help="Learn, list, show and compare convolutional dictionaries.",
)

_Name = Annotated[
    str,
    typer.Argument(
        metavar="D",
        help="Dictionary's name, FOLDER/NAME in a bank, or a .safetensors, .npy or .pt file.",
    ),
]
_ConventionOption = Annotated[
    Literal["convolution", "cross-correlation"],
    typer.Option(help="What synthesis with the kernels of a file means; they are converted."),
]
_Bank = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder with an index.json.  [default: what ships]"),
]
_Images = Annotated[
    list[Path], typer.Argument(metavar="IMAGE...", help="NIfTI, DICOM, PNG, .npy, .mat, ...")
]
_Key = Annotated[str | None, typer.Option(help="Name of the array in files that hold several.")]
_SliceAxis = Annotated[int, typer.Option(help="Axis of an array that counts slices.")]
_Reduction = Annotated[int, typer.Option(min=1, help="How many times larger pixels are made.")]
_Crop = Annotated[
    int | None, typer.Option(min=8, help="Largest size [pixels]; the middle is kept.")
]


@dictionary.command("list", context_settings=_CONTEXT)
def list_(bank: _Bank = None, json: JsonOption = False) -> None:
    """Show which dictionaries there are."""
    from json import dumps

    from lowfield_recon.dictionaries import DictionaryBank

    found = DictionaryBank(bank)
    if json:
        entries = {name: found.entry(name).model_dump(mode="json") for name in found}
        typer.echo(dumps(entries, indent=2, ensure_ascii=False))
        return
    for name in found:
        entry = found.entry(name)
        y, x = entry.kernel_size
        licence = entry.provenance.get("licence", "not stated")
        typer.echo(f"{name}: {entry.n_kernels} kernels of {y}x{x}, licence {licence}")


@dictionary.command(context_settings=_CONTEXT)
def show(
    name: _Name,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="PNG of the atoms to write.")
    ] = None,
    bank: _Bank = None,
    convention: _ConventionOption = "convolution",
    json: JsonOption = False,
) -> None:
    """Say how a dictionary came about, and draw its atoms."""
    from json import dumps

    from lowfield_recon.manifest import to_plain

    if out is not None:
        check_output_path(out)
        if out.suffix.lower() != ".png":
            raise UsageError(f"{out.name}: the picture of the atoms is a .png; choose such a name.")
    found = _load(name, bank, convention)
    y, x = found.kernel_size
    record = {
        "name": found.name,
        "n_kernels": found.n_kernels,
        "kernel_size": [y, x],
        "sha256": found.sha256(),
        "provenance": to_plain(dict(found.provenance)),
    }
    if json:
        typer.echo(dumps(record, indent=2, ensure_ascii=False))
    else:
        typer.echo(f"{found.name}: {found.n_kernels} kernels of {y}x{x}, {record['sha256']}")
        for key, value in found.provenance.items():
            text = dumps(to_plain(value), ensure_ascii=False)
            typer.echo(f"  {key}: {text if len(text) <= 200 else text[:200] + '...'}")
    if out is not None:
        from lowfield_recon.evaluation.atoms import write_mosaic

        write_mosaic(out, found.kernels)
        if not json:
            typer.echo(f"wrote {out}")


@dictionary.command(context_settings=_CONTEXT)
def compare(first: _Name, second: _Name, bank: _Bank = None, json: JsonOption = False) -> None:
    """Compare two dictionaries, whatever the shift and sign of their atoms."""
    from dataclasses import asdict
    from json import dumps

    from lowfield_recon.dictionaries.comparison import compare_dictionaries

    found = compare_dictionaries(_load(first, bank), _load(second, bank))
    if json:
        typer.echo(dumps(asdict(found), indent=2))
        return
    typer.echo(
        f"best match of an atom of {first} in {second}: {found.mean_best_match:.3f} in the mean, "
        f"{found.worst_best_match:.3f} at worst (a shifted copy: 1, white noise: "
        f"{found.chance:.3f})"
    )
    typer.echo(f"the other way round: {found.mean_best_match_back:.3f} in the mean")
    typer.echo(f"atoms with a copy in the other: {found.n_copies[0]} and {found.n_copies[1]}")
    typer.echo(f"coherence: {found.coherence[0]:.3f} and {found.coherence[1]:.3f}")
    typer.echo(f"Lipschitz constant: {found.lipschitz[0]:.4g} and {found.lipschitz[1]:.4g}")


@dictionary.command(context_settings=_CONTEXT)
def build(
    images: _Images,
    out: Annotated[Path, typer.Option("-o", "--out", help="Dictionary to write: .safetensors.")],
    kernels: Annotated[int, typer.Option(metavar="K", min=1, help="Number of kernels.")] = 32,
    size: Annotated[int, typer.Option(metavar="N", min=1, help="Odd width of a kernel.")] = 11,
    weight: Annotated[float, typer.Option(help="Sparsity weight.")] = 0.5,
    beta: Annotated[float, typer.Option(min=0, help="Weight of the low-pass.")] = 0.25,
    passes: Annotated[int, typer.Option(min=1, help="Passes over the images.")] = 2,
    zero_mean: Annotated[
        bool, typer.Option("--zero-mean", help="Make every kernel sum to zero.")
    ] = False,
    batch: Annotated[
        bool, typer.Option("--batch", help="Update after each pass, not after each pair.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of kernels and order.")] = 0,
    key: _Key = None,
    slice_axis: _SliceAxis = 0,
    reduction: _Reduction = 1,
    crop: _Crop = None,
    licence: Annotated[str, typer.Option(help="Licence of the images, for the record.")] = (
        "not stated"
    ),
) -> None:
    """Learn a convolutional dictionary from images.

    How it was learnt is written to a JSON beside it. For the grid of the shipped bank use
    'lowfield-recon run build_bank'.
    """
    for image in images:
        require_file(image, "image")
    check_output_path(out)
    if out.suffix != ".safetensors":
        raise UsageError(f"{out.name}: a dictionary ends in .safetensors; choose such a name.")
    from lowfield_recon.dictionaries.learning import LearningOptions
    from lowfield_recon.pipeline.dictionary_building import learn_and_write, training_images
    from lowfield_recon.progress import progress_bar

    options = LearningOptions(
        n_kernels=kernels, kernel_size=size, weight=weight, beta=beta, passes=passes,
        zero_mean=zero_mean, method="batch" if batch else "online", seed=seed,
    )  # fmt: skip
    found = training_images(images, key=key, slice_axis=slice_axis, reduction=reduction, crop=crop)
    preparation = {"key": key, "slice_axis": slice_axis, "reduction": reduction, "crop": crop}
    with progress_bar("dictionary", 1) as progress_of:
        learn_and_write(
            images, out, options, images=found,
            provenance={"preparation": preparation, "licence": licence},
            progress=progress_of(0),
        )  # fmt: skip
    typer.echo(f"learnt from {len(found)} images; wrote {out}")


@dictionary.command(context_settings=_CONTEXT)
def bank(
    images: _Images,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder to write.")],
    scheduler: Annotated[
        str, typer.Option(metavar="sync|local|ADDRESS", help="See 'lowfield-recon run --help'.")
    ] = "sync",
    key: _Key = None,
    slice_axis: _SliceAxis = 0,
    reduction: _Reduction = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
) -> None:
    """Learn the whole published grid of 96 dictionaries; what is done already is not done again.

    The same as 'lowfield-recon run build_bank', which has more options.
    """
    from lowfield_recon.cli.run import run

    for image in images:
        require_file(image, "image")
    values = [
        "images=" + ",".join(str(image) for image in images),
        f"slice_axis={slice_axis}",
        f"reduction={reduction}",
        *([] if key is None else [f"key={key}"]),
    ]
    run("build_bank", values, out=out, dry_run=dry_run, scheduler=scheduler)


@dictionary.command(context_settings=_CONTEXT)
def convert(
    name: _Name,
    out: Annotated[Path, typer.Option("-o", "--out", help="Dictionary to write: .safetensors.")],
    convention: _ConventionOption = "convolution",
    licence: Annotated[str | None, typer.Option(help="Licence, for the record.")] = None,
    source: Annotated[str | None, typer.Option(help="Where it comes from, for the record.")] = None,
) -> None:
    """Bring a dictionary from elsewhere into this package's form: unit norm, convolution, record.

    What was changed is written to a JSON beside it.
    """
    check_output_path(out)
    if out.suffix != ".safetensors":
        raise UsageError(f"{out.name}: a dictionary ends in .safetensors; choose such a name.")
    from lowfield_recon.dictionaries.loading import load_dictionary, write_dictionary

    found = load_dictionary(name, convention=convention)
    said = {"licence": licence, "source": source}
    write_dictionary(found, out, {key: text for key, text in said.items() if text is not None})
    y, x = found.kernel_size
    typer.echo(f"wrote {found.n_kernels} kernels of {y}x{x} to {out}")


@dictionary.command(context_settings=_CONTEXT)
def index(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with an index.json.")],
    code_version: Annotated[
        str | None,
        typer.Option(metavar="V", help="Version that learnt those that do not say it."),
    ] = None,
) -> None:
    """Check every dictionary of a bank, and complete its index with constants of the kernels."""
    from lowfield_recon.dictionaries import DictionaryBank

    found = DictionaryBank(folder).completed(code_version)
    typer.echo(f"{len(found)} dictionaries are what the index says; completed {folder}/index.json")


def _load(name: str, bank: Path | None, convention: Convention = "convolution") -> Dictionary:
    from lowfield_recon.dictionaries import DictionaryBank, load_dictionary

    if bank is None:
        return load_dictionary(name, convention=convention)
    if convention != "convolution":
        raise UsageError(f"--convention {convention}: concerns a file; leave out --bank.")
    return DictionaryBank(bank)[name]
