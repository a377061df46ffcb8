"""`lowfield-recon weights`: list and show trained weights, convert published checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lowfield_recon.cli.options import JsonOption
from lowfield_recon.errors import UsageError
from lowfield_recon.files import check_output_path, require_file

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_LONGEST = 200

weights = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=_CONTEXT,
    help="List and show trained weights, convert published checkpoints.",
)


@weights.command("list", context_settings=_CONTEXT)
def list_(json: JsonOption = False) -> None:
    """Show which weights ship, by method."""
    from json import dumps

    from lowfield_recon.learning.shipped_weights import shipped_weights

    found = shipped_weights()
    if json:
        entries = {
            entry.name: {
                "method": entry.method,
                "bytes": entry.n_bytes,
                "n_parameters": entry.card.get("n_parameters"),
                "summary": entry.summary,
            }
            for entry in found
        }
        typer.echo(dumps(entries, indent=2, ensure_ascii=False))
        return
    for method in dict.fromkeys(entry.method for entry in found):
        typer.echo(f"{method}:")
        for entry in (entry for entry in found if entry.method == method):
            typer.echo(f"  {entry.name}: {entry.n_bytes / 1000:.0f} kB, {entry.summary}")


@weights.command(context_settings=_CONTEXT)
def show(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of weights, or a .safetensors file.")
    ],
    json: JsonOption = False,
) -> None:
    """Show the model card: licence, provenance, settings and figures."""
    from lowfield_recon.learning.shipped_weights import describe_weights

    found = describe_weights(name)
    if json:
        from json import dumps

        record = {"name": found.name, "bytes": found.n_bytes, **found.header, **found.card}
        typer.echo(dumps(record, indent=2, ensure_ascii=False))
        return
    typer.echo(f"{found.name}: {found.method}, {found.n_bytes / 1000:.0f} kB, {found.summary}")
    for key, value in {**found.header, **found.card}.items():
        if key not in ("format", "version", "method", "summary"):
            _say(key, value)


@weights.command(context_settings=_CONTEXT)
def convert(
    checkpoint: Annotated[
        Path,
        typer.Argument(metavar="CHECKPOINT", help="checkpoint.pth of NCPR or CPR, or its folder."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Weights to write: .safetensors.")],
) -> None:
    """Convert a published checkpoint of NCPR or CPR.

    The checkpoint is read as numbers and text; code that it may hold is never run. The model card
    is written to a JSON beside the weights.
    """
    require_file(checkpoint, "checkpoint")
    check_output_path(out)
    if out.suffix != ".safetensors":
        raise UsageError(f"{out.name}: weights end in .safetensors; choose such a name.")
    from lowfield_recon.learning.published_patch import convert_published

    found = convert_published(checkpoint, out)
    original = found.card["original"]
    if original["published"]:
        what = f"the authors' {original['file']}, SHA-256 as published"
    else:
        what = f"not one of the four published files (SHA-256 {original['sha256']})"
    n_parameters = found.card["n_parameters"]
    typer.echo(f"wrote {n_parameters} parameters to {out}: {what}, licence {found.card['licence']}")


def _say(key: str, value: object, indent: str = "  ") -> None:
    """Say one entry of a card, a long one in parts."""
    from json import dumps

    text = value if isinstance(value, str) else dumps(value, ensure_ascii=False)
    if isinstance(value, dict) and len(text) > _LONGEST and len(indent) < 4:
        typer.echo(f"{indent}{key}:")
        for name, entry in value.items():
            _say(name, entry, indent + "  ")
        return
    typer.echo(f"{indent}{key}: {text if len(text) <= _LONGEST else text[:_LONGEST] + '...'}")
