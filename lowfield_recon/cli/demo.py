"""`lowfield-recon demo`: the shipped real scans with several methods, as images and a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lowfield_recon.cli.options import DeviceOption
from lowfield_recon.files import check_output_path


def demo(
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="DIR", help="Folder for images and report.")
    ] = Path("lowfield-recon-demo"),
    device: DeviceOption = "auto",
    plan: Annotated[
        Path | None, typer.Option(help="Another plan than the shipped pipelines/demo.yaml.")
    ] = None,
) -> None:
    """Reconstruct shipped real scans and show them.

    Takes a real 0.055 T brain and a four-coil brain, reconstructs them with several methods, and
    writes NIfTI and PNG images, a figure and report.html into a folder. Needs nothing but the
    install.
    """
    from time import perf_counter

    start = perf_counter()
    if not out.is_dir():
        check_output_path(out).mkdir()
    from lowfield_recon.cli.logging_setup import only_errors_of
    from lowfield_recon.configuration import load_configuration
    from lowfield_recon.evaluation.demo import count_images, load_scans, one_thread, run_demo
    from lowfield_recon.evaluation.demo_plan import DemoPlan
    from lowfield_recon.evaluation.demo_report import build_report
    from lowfield_recon.evaluation.figure import write_figure
    from lowfield_recon.evaluation.report import write_report
    from lowfield_recon.progress import progress_bar
    from lowfield_recon.resources import shipped_folder

    chosen = load_configuration(plan or shipped_folder("pipelines") / "demo.yaml", DemoPlan)
    outcomes = []
    with only_errors_of("lowfield_recon.scan"):  # the report lists repairs of the samples
        scans = load_scans(chosen)
    with one_thread(), progress_bar("demo", count_images(chosen, scans)) as progress_for:
        for outcome in run_demo(chosen, scans, out, device=device, progress_for=progress_for):
            outcomes.append(outcome)
            seconds = ", ".join(f"{done.label} {done.seconds:.1f} s" for done in outcome.methods)
            typer.echo(f"{outcome.plan.title}: {seconds}")
    report = build_report(chosen, outcomes, seconds=perf_counter() - start)
    figure = write_figure(out / "figure.png", report)
    page = write_report(out / "report.html", report)
    typer.echo(f"wrote images into {out}, {figure.name} and {page}")
