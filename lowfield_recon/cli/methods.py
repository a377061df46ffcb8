"""`lowfield-recon methods`: what there is, what it needs, which problems it takes."""

from __future__ import annotations

import typer

from lowfield_recon.cli.options import JsonOption


def methods(json: JsonOption = False) -> None:
    """List the methods of reconstruction.

    With what they need, which problems they take, and their settings.
    """
    from json import dumps

    from lowfield_recon.manifest import to_plain
    from lowfield_recon.reconstructors import methods as known_methods

    known = known_methods()
    if json:
        typer.echo(dumps(to_plain(known), indent=2))
        return
    for method in known:
        typer.echo(f"{method.name}: {method.summary}")
        typer.echo(f"  needs: {method.needs}")
        typer.echo(f"  takes: {method.takes}")
        for setting, text in method.settings.items():
            typer.echo(f"  --set {setting}=...  {text}")
