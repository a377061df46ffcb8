"""Every writer, interrupted at every stage: one process tries all and prints what it found as JSON.

`python crash_trials.py FOLDER`. Each trial is a fork of this warm process, as the interpreter and
its libraries take seconds to load, and as it must be killed.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import ismrmrd  # noqa: F401 - its import resets the warning filters, so it must come first
import numpy as np
import torch

import lowfield_recon.scan.dicom_writer  # noqa: F401 - so that no trial spends time on it
from lowfield_recon import files
from lowfield_recon.cli.app import main
from lowfield_recon.errors import LowfieldReconError
from lowfield_recon.files import sha256_of
from lowfield_recon.scan.ismrmrd_writer import write_ismrmrd_kspace
from lowfield_recon.scan.writers import open_image_writer

N_IMAGES, SHAPE = 4, (1, 48, 64)
WRITERS = ("image.nii.gz", "image.nii", "image.h5", "image.npy", "image.png", "image.dicom",
           "kspace.h5")  # fmt: skip
MOMENTS = ("image 0", "image 2", "after the last", "flush")
FULL_AT = (0.02, 0.5, 0.98)
"""Parts of the file's size at which the disk is full."""

INTERRUPTED, REFUSED, FAULTY = 10, 11, 12

Hook = Callable[[str], None]


def nothing(_moment: str) -> None:
    """Let the writer go on."""


def write(path: Path, seed: int, hook: Hook = nothing) -> None:
    """Write four images, or the k-space of four slices, under a name."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(2, N_IMAGES, *SHAPE)).astype(np.float32)
    images = torch.from_numpy(values[0] + 1j * values[1])
    if path.name == "kspace.h5":
        write_ismrmrd_kspace(path, _Slices(images.numpy(), hook), fov_m=(0.005, 0.2, 0.2))
        return
    with open_image_writer(path, volume_shape=(1, N_IMAGES), image_shape=SHAPE) as writer:
        for number in range(N_IMAGES):
            hook(f"image {number}")
            writer.append(images[number][None, None])
        hook("after the last")


class _Slices:
    """k-space that is asked for slice by slice."""

    def __init__(self, images: np.ndarray, hook: Hook) -> None:
        self.images, self.hook = images, hook
        self.shape = (1, 1, N_IMAGES, 1, *SHAPE)

    def __getitem__(self, index: tuple[int, int, int]) -> np.ndarray:
        self.hook(f"image {index[2]}")
        return self.images[index[2]][None]


def in_fork(action: Callable[[], None]) -> int:
    """Do it in a child; return its exit code, negative for the signal that killed it."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = FAULTY
    try:
        action()
        code = 0
    except KeyboardInterrupt:
        code = INTERRUPTED
    except (OSError, LowfieldReconError):
        code = REFUSED
    except BaseException:  # noqa: BLE001 - told to the parent by the exit code
        traceback.print_exc()
    finally:
        os._exit(code)


def signal_at(path: Path, moment: str, number: signal.Signals) -> int:
    """Write, and send this process a signal at a moment."""

    def hook(now: str) -> None:
        if now == moment:
            os.kill(os.getpid(), number)

    def action() -> None:
        flush = files._flush

        def flush_with_hook(temporary: Path) -> None:
            hook("flush")
            flush(temporary)

        files._flush = flush_with_hook
        write(path, 2, hook)

    return in_fork(action)


def limit_files(path: Path, part: float) -> None:
    """Let no file of this process grow beyond a part of the size that it would have."""
    sizes = [p.stat().st_size for p in ([path] if path.is_file() else path.iterdir())]
    limit = int(part * max(sizes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def trial(folder: Path, name: str, how: str, moment: str, act: Callable[[Path], int]) -> dict:
    """Write once, let a second writing fail, look, and write again."""
    place = folder / f"{name}-{how}-{moment}".replace(" ", "_")
    place.mkdir()
    path = place / name
    write(path, 1)
    before = sha256_of(path)
    code = act(path)
    left = sorted(p.name for p in place.iterdir() if p.name != name)
    after = sha256_of(path) if path.exists() else None
    again = in_fork(lambda: write(path, 2))
    return {
        "writer": name,
        "how": how,
        "moment": moment,
        "code": code,
        "is_old_intact": after == before,
        "left": left,
        "is_written_again": again == 0 and sha256_of(path) == sha256_of(folder / "new" / name),
        "left_again": sorted(p.name for p in place.iterdir() if p.name != name),
    }


def command_on_full_disk(folder: Path, ending: str) -> dict:
    """Run a command whose output does not fit on the disk."""
    place = folder / f"command-{ending}"
    place.mkdir()
    out, said = place / f"image{ending}", folder / f"said-{ending}"
    words = ["reconstruct", str(folder / "new" / "kspace.h5"), "-o", str(out), "--method"]

    def action() -> None:
        descriptor = os.open(said, os.O_CREAT | os.O_WRONLY)
        os.dup2(descriptor, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2500, 2500))
        os._exit(main([*words, "adjoint"]))

    code = in_fork(action)
    left = sorted(p.name for p in place.iterdir())
    return {"writer": ending, "how": "command", "code": code, "left": left,
            "said": said.read_text()}  # fmt: skip


def run(folder: Path) -> list[dict]:
    torch.set_num_threads(1)
    (folder / "new").mkdir()
    for name in WRITERS:
        write(folder / "new" / name, 2)
    found = []
    for name in WRITERS:
        for how, number in (("interrupt", signal.SIGINT), ("kill", signal.SIGKILL)):
            for moment in MOMENTS:
                if name != "kspace.h5" or moment != "after the last":

                    def interrupt(path: Path, moment=moment, number=number) -> int:
                        return signal_at(path, moment, number)

                    found.append(trial(folder, name, how, moment, interrupt))
        for part in FULL_AT:

            def fill(path: Path, part: float = part) -> int:
                def action() -> None:
                    limit_files(path, part)
                    write(path, 2)

                return in_fork(action)

            found.append(trial(folder, name, "full disk", str(part), fill))
    return found + [command_on_full_disk(folder, e) for e in (".nii.gz", ".h5", ".npy", ".dicom")]


if __name__ == "__main__":
    json.dump(run(Path(sys.argv[1])), sys.stdout)
