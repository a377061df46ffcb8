"""Damaged files by number: `python tests/fuzz/damage.py NUMBER FOLDER` makes one again.

Every number gives one file, the same on every machine: the number picks the sample and the kind of
damage, and seeds all random choices.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
from sound_files import Sample, sound_samples

Damage = Callable[[bytes, random.Random], bytes]
TreeDamage = Callable[[Path, random.Random], None]

BOMB = (
    '<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {c} "{10 * f"&{p};"}">' for p, c in pairwise("abcdefghi"))
    + "]><ismrmrdHeader>&i;</ismrmrdHeader>"
)  # fmt: skip
ENTITY = (
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]>'
    '<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><studyInformation>&e;</studyInformation>'
    "</ismrmrdHeader>"
)
YAML_BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{c}: &{c} [{','.join([f'*{p}'] * 9)}]\n" for p, c in pairwise("abcdefghi")
)
YAML_TEXTS = (
    YAML_BOMB,
    "!!python/object/apply:os.system ['touch pwned']\n",
    "a: &a\n  b: *a\n",
    "[" * 3000,
    "title: 1\ntitle: 2\n",
    "\x00\x01",
    "title: !!float nan\nsummary: .inf\nexperiments: {}\n",
    "title: Fuzzed\nsummary: x\nexperiments: [{name: ../../x, sample: /etc/passwd}]\n",
    "? [a, b]\n: c\n",
    "- 1\n- 2\n",
)


@dataclass(frozen=True)
class Case:
    """A damaged input in a folder, and the command for it."""

    number: int
    sample: Sample
    damage: str
    target: str


def _position(size: int, rng: random.Random) -> int:
    """A place in a file, more often in its head."""
    return rng.randrange(max(1, size if rng.random() < 0.5 else min(size, 2048)))


def truncated(content: bytes, rng: random.Random) -> bytes:
    return content[: _position(len(content), rng)]


def bits_flipped(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 5, 20, 100])):
        changed[_position(len(changed), rng)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def bytes_changed(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice([1, 3, 10, 50])):
        changed[_position(len(changed), rng)] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, 0x20])
    return bytes(changed)


def words_changed(content: bytes, rng: random.Random) -> bytes:
    """Whole numbers of 4 or 8 bytes, where sizes, offsets and counts are, become absurd."""
    changed = bytearray(content)
    for _ in range(rng.choice([1, 2, 4])):
        width = rng.choice([2, 4, 8])
        start = _position(len(changed), rng) // width * width
        value = rng.choice([0, 1, 2 ** (8 * width - 1) - 1, 2 ** (8 * width) - 1, 2 ** (4 * width)])
        changed[start : start + width] = value.to_bytes(width, rng.choice(["little", "big"]))
    return bytes(changed[: len(content)])


def zeros_inside(content: bytes, rng: random.Random) -> bytes:
    start = _position(len(content), rng)
    n = min(rng.choice([4, 64, 512, 4096]), len(content) - start)
    return content[:start] + bytes(n) + content[start + n :]


def zeros_after(content: bytes, rng: random.Random) -> bytes:
    return content + bytes(rng.choice([1, 100, 5000]))


def noise_after(content: bytes, rng: random.Random) -> bytes:
    return content + rng.randbytes(rng.choice([1, 100, 5000]))


def cut_out(content: bytes, rng: random.Random) -> bytes:
    start = _position(len(content), rng)
    return content[:start] + content[start + rng.choice([1, 8, 200]) :]


def doubled(content: bytes, rng: random.Random) -> bytes:
    start = _position(len(content), rng)
    return content[:start] + content[start : start + rng.choice([1, 8, 200])] + content[start:]


def emptied(content: bytes, rng: random.Random) -> bytes:
    return b""


def text_instead(content: bytes, rng: random.Random) -> bytes:
    return rng.choice([b"hello\n", b"{}", b"<html></html>", BOMB.encode(), b"\n" * 500])


def noise_instead(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.choice([0, 4, 8, 64])] + rng.randbytes(rng.choice([10, 500, 9000]))


def zeros_instead(content: bytes, rng: random.Random) -> bytes:
    return bytes(len(content))


def sound(content: bytes, rng: random.Random) -> bytes:
    return content


BYTES: tuple[Damage, ...] = (
    bits_flipped, truncated, words_changed, bytes_changed, bits_flipped, zeros_inside, truncated,
    words_changed, cut_out, doubled, bits_flipped, zeros_after, noise_after, bytes_changed, sound,
    emptied, text_instead, words_changed, noise_instead, zeros_instead, bits_flipped, truncated,
)  # fmt: skip


def yaml_texts(content: bytes, rng: random.Random) -> bytes:
    return rng.choice(YAML_TEXTS).encode()


def _data_sets(file: h5py.File) -> list[str]:
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if hasattr(item, "shape") else None)
    return names


def links(path: Path, rng: random.Random) -> None:
    """A data set or group becomes a link: outside, nowhere, to itself, or in a circle."""
    with h5py.File(path, "a") as file:
        name = rng.choice([*_data_sets(file), *file])
        target = rng.choice(
            [
                h5py.ExternalLink("/etc/hostname", "/a"),
                h5py.ExternalLink(path.name, "/" + name),
                h5py.SoftLink("/nowhere"),
                h5py.SoftLink("/" + name),
                h5py.SoftLink("/"),
                file["/"],
            ]
        )
        del file[name]
        file[name] = target


def replaced(path: Path, rng: random.Random) -> None:
    """A data set gets another shape or type, or becomes a group."""
    with h5py.File(path, "a") as file:
        name = rng.choice(_data_sets(file))
        del file[name]
        kind = rng.randrange(10)
        if kind == 0:
            file.create_group(name)
        elif kind == 1:
            file.create_dataset(name, (2**20, 2**20, 4), dtype="c8", chunks=(64, 64, 4))
        elif kind == 2:
            file.create_dataset(name, (2**31, 3), dtype="f8", chunks=(1024, 3), compression="gzip")
        elif kind == 3:
            file[name] = h5py.Empty("f4")
        else:
            file[name] = (
                np.zeros((0, 4), "c8"), np.zeros((2, 2, 2, 2, 2, 2), "c8"),
                np.array(["a", "b"], "S"), np.zeros((3, 4), "f4"),
                np.array(3.0), np.zeros((1, 1), "c16"),
            )[kind - 4]  # fmt: skip


def values_spoilt(path: Path, rng: random.Random) -> None:
    """NaN, infinity, the largest float or zeros among the samples."""
    value = rng.choice([np.nan, np.inf, -np.inf, 3e38, 0.0])
    with h5py.File(path, "a") as file:
        if "dataset/data" in file and file["dataset/data"].dtype.names:
            record = file["dataset/data"][0]
            record["data"][: rng.randrange(1, 9)] = value
            file["dataset/data"][0] = record
            return
        sets = {name: file[name].dtype for name in _data_sets(file)}
        name = rng.choice(
            [n for n, d in sets.items() if d.kind in "fc" or "real" in (d.names or ())]
        )
        array = file[name][...]
        flat = (array if array.dtype.names is None else array["real"]).reshape(-1)
        flat[: rng.randrange(1, 20) if rng.random() < 0.7 else None] = value
        file[name][...] = array


def header_spoilt(path: Path, rng: random.Random) -> None:
    """Bombs, entities and absurd numbers in the XML header."""
    with h5py.File(path, "a") as file:
        name = "dataset/xml" if "dataset/xml" in file else "ismrmrd_header"
        stored = file[name]
        text = (stored[0] if stored.shape else stored[()]).decode()
        number = rng.choice(
            ["0", "-1", "65535", "2147483647", "1e300", "nan", "4000000000000", "40.5", "", "abc"]
        )
        tag = rng.choice(["x", "y", "z", "maximum", "center", "minimum", "TR", "receiverChannels",
                          "H1resonanceFrequency_Hz", "trajectory"])  # fmt: skip
        begin = text.find(f"<{tag}>")
        with_number = text[: begin + len(tag) + 2] + number + text[text.find(f"</{tag}>", begin) :]
        changed = rng.choice(
            [BOMB, ENTITY, text.replace("?>", f"?>{BOMB[21:BOMB.index(']>') + 2]}", 1), "",
             text[: rng.randrange(len(text))], text.replace("<", "<q:"), "<a>" * 5000,
             text.replace("encoding>", "decoding>"), text + text, "\x01" + text,
             *[with_number] * 10]
        )  # fmt: skip
        del file[name]
        if name == "dataset/xml":
            xml = file.create_dataset(name, (1,), dtype=h5py.special_dtype(vlen=bytes))
            xml[0] = changed.encode()
        else:
            file[name] = changed.encode()


def readouts_spoilt(path: Path, rng: random.Random) -> None:
    """Absurd numbers in the headers of readouts."""
    with h5py.File(path, "a") as file:
        if "dataset/data" not in file:
            replaced_by = rng.choice([bits_flipped, words_changed])
            file.close()
            path.write_bytes(replaced_by(path.read_bytes(), rng))
            return
        records = file["dataset/data"][...]
        heads = records["head"]
        name = rng.choice(["number_of_samples", "active_channels", "center_sample", "discard_pre",
                           "discard_post", "encoding_space_ref", "trajectory_dimensions", "flags",
                           "idx", "idx", "position", "read_dir", "sample_time_us"])  # fmt: skip
        some = slice(None) if rng.random() < 0.5 else slice(0, rng.randrange(1, 4))
        if name == "idx":
            counter = rng.choice(["kspace_encode_step_1", "kspace_encode_step_2", "slice",
                                  "contrast", "repetition", "average"])  # fmt: skip
            values = [65535, 30000, rng.randrange(100), np.arange(len(heads))[::-1]]
            value = values[rng.randrange(4)]
            heads["idx"][counter][some] = value[some] if isinstance(value, np.ndarray) else value
        elif heads[name].dtype.kind == "f":
            heads[name][some] = rng.choice([np.nan, np.inf, 0.0, -1.0, 1e30])
        else:
            heads[name][some] = rng.choice([0, 1, 7, 1024, 65535])
        if rng.random() < 0.2:
            records["data"][0] = records["data"][0][:-3]
        file["dataset/data"][...] = records


TREES: tuple[TreeDamage, ...] = (links, replaced, values_spoilt, header_spoilt, readouts_spoilt)


def _arrays_spoilt(sample: Sample, path: Path, rng: random.Random) -> None:
    """Arrays that are sound files with wrong content."""
    shapes = [(0, 4), (1,), (2, 2, 2, 2, 2, 2, 2), (), (5, 4), (1, 1), (3, 1, 70000)]
    shape = rng.choice(shapes)
    value = rng.choice([np.nan, np.inf, 0.0, 1.0, 3e38])
    kind = rng.choice(["c8", "f8", "i2", "c16", "?", "U3", ">c8"])
    array = np.full(shape, value if kind not in ("i2", "U3", "?") else 1).astype(kind)
    if path.suffix == ".npz":
        np.savez(path, a=array)
    else:
        np.save(path, array)


def make(number: int, folder: Path) -> Case:
    """Write the damaged input of a number into an empty folder."""
    samples = sound_samples()
    sample, turn = samples[number % len(samples)], number // len(samples)
    rng = random.Random(number)
    for name, content in sample.files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    victim = folder / rng.choice(sorted(sample.files))
    if "hdf5" in sample.tags and turn % 2:
        kinds = [t for t in TREES if {"ismrmrd", "fastmri"} & sample.tags or t not in TREES[3:]]
        change = kinds[turn // 2 % len(kinds)]
        change(victim, rng)
        return Case(number, sample, change.__name__, sample.target)
    if victim.suffix in (".npy", ".npz") and turn % 4 == 3:
        _arrays_spoilt(sample, victim, rng)
        return Case(number, sample, "arrays_spoilt", sample.target)
    if "text" in sample.tags and turn % 2:
        victim.write_bytes(YAML_TEXTS[turn // 2 % len(YAML_TEXTS)].encode())
        return Case(number, sample, "yaml_texts", sample.target)
    change = BYTES[(turn if "hdf5" not in sample.tags else turn // 2 * 3) % len(BYTES)]
    victim.write_bytes(change(victim.read_bytes(), rng))
    target = sample.target
    if len(sample.files) == 1 and "text" not in sample.tags and rng.random() < 0.1:
        target = "renamed" + rng.choice([".h5", ".npy", ".mat", ".nii", ".png", ".cfl", ".hdr", ""])
        victim.rename(folder / target)
    return Case(number, sample, change.__name__, target)


if __name__ == "__main__":
    where = Path(sys.argv[2])
    where.mkdir(parents=True, exist_ok=True)
    made = make(int(sys.argv[1]), where)
    sys.stdout.write(f"{made.sample.name}, {made.damage}: {where / made.target}\n")
