"""The real steps do what the commands do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lowfield_recon.cli.app import main
from lowfield_recon.errors import DataError
from lowfield_recon.pipeline.tables import read_rows, write_table


def _run(folder: Path, yaml: str) -> int:
    (folder / "p.yaml").write_text(f"name: p\ndescription: a test\nsteps:\n{yaml}")
    return main(["run", str(folder / "p.yaml"), "-o", str(folder / "out")])


def test_an_array_is_converted_and_reconstructed(tmp_path: Path):
    generator = np.random.default_rng(0)
    image = generator.normal(size=(16, 24)) + 1j * generator.normal(size=(16, 24))
    shifted = np.fft.fft2(np.fft.ifftshift(image), norm="ortho")
    np.save(tmp_path / "kspace.npy", np.fft.fftshift(shifted).astype(np.complex64))
    code = _run(
        tmp_path,
        """\
- name: scan
  uses: convert
  with: {array: kspace.npy, axes: y x, fov_mm: [240, 160, 5], field_strength_t: 0.05}
  save_as: raw/scan.h5
- name: image
  uses: reconstruct
  with: {scan: "${scan.scan}", method: adjoint}
  save_as: image.npy
""",
    )
    assert code == 0
    found = np.load(tmp_path / "out" / "image.npy").squeeze()
    np.testing.assert_allclose(found, image, atol=1e-5)
    assert (tmp_path / "out" / "raw" / "scan.h5").exists()


def test_a_folder_of_dicom_is_saved_and_taken_from_the_cache(tmp_path: Path, capsys):
    yaml = """\
- name: image
  uses: reconstruct
  with: {scan: "sample:brain_0055t_t2w.h5", method: adjoint, slices: 2-3}
  save_as: series.dicom
"""
    assert _run(tmp_path, yaml) == 0
    first = {path: path.read_bytes() for path in (tmp_path / "out" / "series.dicom").iterdir()}
    assert len(first) == 2
    for path in first:
        path.unlink()
    capsys.readouterr()
    assert _run(tmp_path, yaml) == 0
    assert "1 taken from the cache" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in first} == first


def test_restore_takes_what_the_command_takes(tmp_path: Path):
    image = np.random.default_rng(1).random((24, 32), dtype=np.float32)
    mask = np.random.default_rng(2).random((24, 32)) < 0.7
    np.save(tmp_path / "image.npy", image * mask)
    np.save(tmp_path / "mask.npy", mask.astype(np.float32))
    code = _run(
        tmp_path,
        """\
- name: filled
  uses: restore
  with: {image: image.npy, mask: mask.npy, task: inpaint, method: tv, noise_std: 0.01}
  save_as: filled.npy
""",
    )
    assert code == 0
    words = ["--task", "inpaint", "--mask", str(tmp_path / "mask.npy"), "--noise-std", "0.01"]
    command = tmp_path / "command.npy"
    assert main(["restore", str(tmp_path / "image.npy"), "-o", str(command), *words]) == 0
    assert (tmp_path / "out" / "filled.npy").read_bytes() == command.read_bytes()


@pytest.mark.parametrize(
    ("settings", "line", "words"),
    [
        ("task: inpaint", 6, "needs --mask"),
        ("method: tv", 6, "is missing"),
        ("task: denoise, factor: 2", 6, "has no meaning"),
    ],
)
def test_tasks_that_do_not_fit_are_refused(tmp_path: Path, capsys, settings, line, words):
    np.save(tmp_path / "image.npy", np.eye(8, dtype=np.float32))
    code = _run(
        tmp_path,
        f"- name: a\n  uses: restore\n  with: {{image: image.npy, {settings}}}\n",
    )
    message = capsys.readouterr().err
    assert code == 2
    assert message.startswith(f"error: p.yaml, line {line}: ")
    assert words in message


def test_a_wrong_recipe_is_refused(tmp_path: Path, capsys):
    yaml = '- name: a\n  uses: simulate\n  with:\n    image: "sample:camera.png"\n'
    assert _run(tmp_path, yaml + "    recipe: {n_coil: 4}\n") == 2
    assert capsys.readouterr().err.startswith("error: p.yaml, line 8: ")


def test_a_table_holds_the_values_at_their_places(tmp_path: Path):
    for name, value in (("a", 1.25), ("b", None)):
        record = {"labels": {"who": name}, "psnr_db": value, "on": True}
        (tmp_path / f"{name}.json").write_text(json.dumps(record))
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    columns = {"who": "labels.who", "PSNR": "psnr_db", "on": "on", "gone": "labels.other"}
    rows = read_rows(files, columns)
    assert rows == [["a", 1.25, True, None], ["b", None, True, None]]
    csv_path, markdown = write_table(tmp_path / "t.csv", list(columns), rows)
    assert csv_path.read_text() == "who,PSNR,on,gone\na,1.25,True,\nb,,True,\n"
    assert markdown.read_text().splitlines()[2] == "| a | 1.25 | True |  |"
    with pytest.raises(DataError, match="column 'x': no file holds 'nothing'"):
        read_rows(files, {"x": "nothing"})
