"""`lowfield-recon data`: which data sets there are, fetching them, checking them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lowfield_recon.cli.options import JsonOption

if TYPE_CHECKING:
    from lowfield_recon.data import DataManifest, FetchedFile, FileCheck

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

data = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=_CONTEXT,
    help="List, fetch and verify data sets.",
)

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Data set; see `lowfield-recon data list`.")
]
FilesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--files",
        metavar="PATTERN",
        help='Only files whose name matches, e.g. "*.mat"; may be given repeatedly.',
    ),
]
FolderOption = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="DIR",
        help="Folder of the files; without it NAME in the folder that LOWFIELD_RECON_DATA names, "
        "or in the user's cache.",
    ),
]


@data.command("list", context_settings=_CONTEXT)
def list_(json: JsonOption = False) -> None:
    """Show which data sets there are, how to get them, and what of them is here."""
    from json import dumps

    from lowfield_recon.data import load_manifest, manifest_names
    from lowfield_recon.data.checksums import human_size
    from lowfield_recon.manifest import to_plain

    known = [_summary(load_manifest(name)) for name in manifest_names()]
    if json:
        typer.echo(dumps(to_plain(known), indent=2, ensure_ascii=False))
        return
    for entry in known:
        typer.echo(f"{entry['name']}: {entry['title']}")
        size = human_size(entry["size_bytes"])  # type: ignore[arg-type]
        typer.echo(
            f"  {entry['access']}, {size}, here: {entry['n_present']} of {entry['n_files']} files, "
            f"licence: {entry['license'] or 'not stated'}"
        )


@data.command(context_settings=_CONTEXT)
def fetch(name: NameArgument, files: FilesOption = None, folder: FolderOption = None) -> None:
    """Download a data set, continuing where an earlier download stopped.

    Every file is compared with its stated size and checksum; archives are unpacked.
    """
    from lowfield_recon.data import dataset_folder, fetch_dataset, load_manifest
    from lowfield_recon.data.byte_bar import byte_bar

    manifest = load_manifest(name)
    fetch_dataset(
        manifest,
        folder,
        patterns=tuple(files or ()),
        progress_of=byte_bar,
        report=lambda fetched: typer.echo(_fetched_line(fetched)),
    )
    typer.echo(f"in {dataset_folder(manifest, folder)}")
    typer.echo(f"licence: {manifest.license or 'not stated'}; please cite: {manifest.citation}")


@data.command(context_settings=_CONTEXT)
def verify(
    name: NameArgument,
    files: FilesOption = None,
    folder: FolderOption = None,
    json: JsonOption = False,
) -> None:
    """Compare the files of a data set with their stated sizes and checksums.

    Each is ok, missing, damaged, or unchecked (no checksum is known). The exit code is 1 when one
    is damaged, or when none is here.
    """
    from json import dumps

    from lowfield_recon.data import dataset_folder, load_manifest, verify_dataset
    from lowfield_recon.errors import DataError
    from lowfield_recon.manifest import to_plain

    manifest = load_manifest(name)
    place = dataset_folder(manifest, folder)
    checks = verify_dataset(
        manifest,
        place,
        patterns=tuple(files or ()),
        report=None if json else lambda check: typer.echo(_check_line(check)),
    )
    if json:
        typer.echo(dumps(to_plain(checks), indent=2, ensure_ascii=False))
    damaged = [check for check in checks if check.status == "damaged"]
    if damaged:
        raise DataError(
            f"{name}: {len(damaged)} of {len(checks)} files damaged, first {damaged[0].name} "
            f"({damaged[0].detail}); replace it: lowfield-recon data fetch {name}."
        )
    if all(check.status == "missing" for check in checks):
        raise DataError(
            f"{name}: none of its files is in {place}; fetch them (lowfield-recon data fetch "
            f"{name}) or name their folder with -o."
        )


def _summary(manifest: DataManifest) -> dict[str, object]:
    """Collect what `data list` shows of a data set."""
    from lowfield_recon.data import dataset_folder

    folder = dataset_folder(manifest)
    return {
        "name": manifest.name,
        "title": manifest.title,
        "description": manifest.description,
        "access": manifest.access,
        "registration": manifest.registration,
        "license": manifest.license,
        "homepage": manifest.source.homepage,
        "doi": manifest.source.doi,
        "citation": manifest.citation,
        "size_bytes": manifest.size_bytes,
        "n_files": len(manifest.files),
        "n_present": sum((folder / file.name).is_file() for file in manifest.files),
        "folder": str(folder),
        "notes": manifest.notes,
    }


def _fetched_line(fetched: FetchedFile) -> str:
    from lowfield_recon.data.checksums import human_size

    checked = "checksum right" if fetched.is_checked else "no checksum known"
    more = f", {fetched.n_unpacked} files unpacked" if fetched.n_unpacked else ""
    size = human_size(fetched.size_bytes)
    return f"{fetched.name}: {fetched.status}, {size}, {checked}{more}"


def _check_line(check: FileCheck) -> str:
    return f"{check.name}: {check.status}" + (f" ({check.detail})" if check.detail else "")
