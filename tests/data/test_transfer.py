"""Downloads from a server that breaks, changes, refuses and lies."""

from __future__ import annotations

import hashlib
import io
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from http.client import HTTPMessage
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request

import pytest

from lowfield_recon.data import Patience, download, transfer, web
from lowfield_recon.data.partial import Partial
from lowfield_recon.errors import DataError, UsageError


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_whole_file_arrives_and_progress_is_told(
    site: Any, content: bytes, sha256: str, tmp_path: Path
) -> None:
    url = site.add("a.h5", content)
    told: list[tuple[int, int | None]] = []
    target = tmp_path / "a.h5"
    done = download(
        url, target, size_bytes=len(content), sha256=sha256, report=lambda *now: told.append(now)
    )
    assert done == target
    assert target.read_bytes() == content
    assert names(tmp_path) == ["a.h5"]
    assert site.ranges == [None]
    assert told[-1] == (len(content), len(content))
    assert [arrived for arrived, _ in told] == sorted(arrived for arrived, _ in told)


def test_a_broken_connection_continues_where_it_stopped(
    site: Any, content: bytes, sha256: str, tmp_path: Path, hasty: Patience
) -> None:
    url = site.add("a.h5", content, breaks=[100_000, 50_000])
    download(url, tmp_path / "a.h5", sha256=sha256, patience=hasty)
    assert (tmp_path / "a.h5").read_bytes() == content
    assert site.ranges == [None, "bytes=100000-", "bytes=150000-"]
    assert names(tmp_path) == ["a.h5"]


def test_a_later_call_continues_and_a_connection_that_gets_further_never_gives_up(
    site: Any, content: bytes, tmp_path: Path, hasty: Patience
) -> None:
    url = site.add("a.h5", content, breaks=[90_000, 0, 0])
    with pytest.raises(DataError, match=r"broke .* 2 attempts in a row; .*90 kB.* is kept"):
        download(url, tmp_path / "a.h5", patience=replace(hasty, attempts=2))
    assert names(tmp_path) == ["a.h5.part", "a.h5.part.json"]
    site.files["/a.h5"].breaks = [20_000] * 8
    site.requests.clear()
    download(url, tmp_path / "a.h5", patience=replace(hasty, attempts=2))
    assert site.requests[0] == ("/a.h5", "bytes=90000-", '"one"')
    assert (tmp_path / "a.h5").read_bytes() == content


def test_a_file_that_changed_in_between_is_taken_anew(
    site: Any, content: bytes, tmp_path: Path, hasty: Patience
) -> None:
    url = site.add("a.h5", content, breaks=[90_000])
    with pytest.raises(DataError):
        download(url, tmp_path / "a.h5", patience=replace(hasty, attempts=1))
    site.add("a.h5", content[::-1], etag='"two"')
    download(url, tmp_path / "a.h5", patience=hasty)
    assert (tmp_path / "a.h5").read_bytes() == content[::-1]


@pytest.mark.parametrize("has_ranges", [True, False])
def test_without_a_mark_of_the_version_only_a_checksum_allows_to_continue(
    site: Any, content: bytes, sha256: str, tmp_path: Path, hasty: Patience, has_ranges: bool
) -> None:
    plain = {"etag": None, "has_ranges": has_ranges}
    url = site.add("a.h5", content, breaks=[90_000], **plain)
    download(url, tmp_path / "a.h5", patience=hasty)
    assert site.ranges == [None, None]
    site.requests.clear()
    url = site.add("b.h5", content, breaks=[90_000], **plain)
    download(url, tmp_path / "b.h5", sha256=sha256, patience=hasty)
    assert site.ranges == [None, "bytes=90000-"]
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes() == content


def test_a_server_without_ranges_that_always_breaks_is_given_up(
    site: Any, content: bytes, sha256: str, tmp_path: Path, hasty: Patience
) -> None:
    url = site.add("a.h5", content, has_ranges=False, breaks=[90_000] * 9)
    with pytest.raises(DataError, match="3 attempts in a row"):
        download(url, tmp_path / "a.h5", sha256=sha256, patience=hasty)
    assert len(site.requests) == 3


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_a_wrong_checksum_removes_what_arrived(
    site: Any, content: bytes, tmp_path: Path, algorithm: str
) -> None:
    url = site.add("a.h5", content)
    wrong = hashlib.new(algorithm, content[1:]).hexdigest()
    with pytest.raises(DataError, match=rf"not the expected file \({algorithm} .* was removed"):
        download(url, tmp_path / "a.h5", **{algorithm: wrong})
    assert names(tmp_path) == []
    right = hashlib.new(algorithm, content).hexdigest()
    download(url, tmp_path / "a.h5", **{algorithm: right})
    assert names(tmp_path) == ["a.h5"]


def test_a_damaged_part_is_found_out_after_it_was_continued(
    site: Any, content: bytes, sha256: str, tmp_path: Path, hasty: Patience
) -> None:
    url = site.add("a.h5", content, breaks=[90_000])
    with pytest.raises(DataError):
        download(url, tmp_path / "a.h5", sha256=sha256, patience=replace(hasty, attempts=1))
    part = tmp_path / "a.h5.part"
    damaged = bytearray(part.read_bytes())
    damaged[5] ^= 1
    part.write_bytes(damaged)
    with pytest.raises(DataError, match="was removed"):
        download(url, tmp_path / "a.h5", sha256=sha256, patience=hasty)
    assert site.ranges[-1] == "bytes=90000-"
    assert names(tmp_path) == []


def test_a_part_longer_than_the_file_is_begun_anew(
    site: Any, content: bytes, sha256: str, tmp_path: Path, hasty: Patience
) -> None:
    url = site.add("a.h5", content)
    (tmp_path / "a.h5.part").write_bytes(content + b"more")
    download(url, tmp_path / "a.h5", sha256=sha256, patience=hasty)
    assert site.ranges == [f"bytes={len(content) + 4}-", None]
    assert (tmp_path / "a.h5").read_bytes() == content


def test_a_range_from_another_place_is_not_taken(
    site: Any, content: bytes, tmp_path: Path, hasty: Patience
) -> None:
    url = site.add("a.h5", content, breaks=[90_000], shifts=[10])
    download(url, tmp_path / "a.h5", patience=hasty)
    assert site.ranges == [None, "bytes=90000-", None]
    assert (tmp_path / "a.h5").read_bytes() == content


def test_a_part_that_is_whole_needs_no_request(content: bytes, sha256: str, tmp_path: Path) -> None:
    (tmp_path / "a.h5.part").write_bytes(content)
    download("http://127.0.0.1:9/a.h5", tmp_path / "a.h5", size_bytes=len(content), sha256=sha256)
    assert names(tmp_path) == ["a.h5"]


def test_another_size_than_stated_is_refused_before_anything_is_written(
    site: Any, content: bytes, tmp_path: Path
) -> None:
    url = site.add("a.h5", content)
    with pytest.raises(DataError, match=r"the server has 300000 bytes, expected 300001"):
        download(url, tmp_path / "a.h5", size_bytes=len(content) + 1)
    assert names(tmp_path) == []


def test_a_server_that_names_no_length_is_read_to_its_end_but_not_beyond_the_stated_size(
    site: Any, content: bytes, sha256: str, tmp_path: Path
) -> None:
    url = site.add("a.h5", content, has_length=False)
    download(url, tmp_path / "a.h5", sha256=sha256)
    assert (tmp_path / "a.h5").read_bytes() == content
    with pytest.raises(DataError, match="sends more than 1000 bytes"):
        download(url, tmp_path / "b.h5", size_bytes=1000)
    assert names(tmp_path) == ["a.h5"]


@pytest.mark.parametrize(("status", "words"), [(404, "has no such file"), (403, "refuses")])
def test_a_lasting_refusal_is_not_tried_again(
    site: Any, content: bytes, tmp_path: Path, status: int, words: str
) -> None:
    url = site.add("a.h5", content, statuses=[status])
    with pytest.raises(DataError, match=rf"^a\.h5: the server {words} \({status}\)"):
        download(url, tmp_path / "a.h5")
    assert len(site.requests) == 1
    assert names(tmp_path) == []


def test_a_busy_server_is_asked_again_after_the_time_it_names(
    site: Any, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(transfer, "time", SimpleNamespace(sleep=waits.append))
    url = site.add("a.h5", content, statuses=[503, 429, 500], retry_after="7")
    download(url, tmp_path / "a.h5", patience=Patience(longest_wait_s=20))
    assert waits == [7, 7, 7]
    waits.clear()
    url = site.add("b.h5", content, statuses=[503, 503, 503, 503], retry_after="9999")
    download(url, tmp_path / "b.h5", patience=Patience(longest_wait_s=20))
    assert waits == [20, 20, 20, 20]
    waits.clear()
    url = site.add("c.h5", content, statuses=[500] * 9)
    with pytest.raises(DataError, match="answers 500, 5 attempts in a row"):
        download(url, tmp_path / "c.h5")
    assert waits == [1, 2, 4, 8]


def test_a_silent_server_is_asked_again(
    site: Any, content: bytes, tmp_path: Path, hasty: Patience
) -> None:
    url = site.add("a.h5", content, silent_s=[0.8])
    download(url, tmp_path / "a.h5", patience=hasty)
    assert len(site.requests) == 2
    assert (tmp_path / "a.h5").read_bytes() == content


def test_nobody_listening_is_said(
    tmp_path: Path, hasty: Patience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(DataError, match=r"no answer from 127\.0\.0\.1:9 .*3 attempts"):
        download("http://127.0.0.1:9/a.h5", tmp_path / "a.h5", patience=hasty)


def test_redirects_stay_on_the_web(site: Any, content: bytes, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("not for copying")
    for i, address in enumerate((secret.as_uri(), "ftp://127.0.0.1/a", "data:,a")):
        url = site.add(f"away{i}", content, redirect=address)
        with pytest.raises(DataError, match="redirects to where it must not"):
            download(url, tmp_path / "a.h5")
    site.add("there", content)
    download(site.add("here", content, redirect="/there"), tmp_path / "b.h5")
    assert (tmp_path / "b.h5").read_bytes() == content
    assert names(tmp_path) == ["b.h5", "secret"]


def test_a_redirect_never_leaves_https() -> None:
    asked = Request("https://example.org/a")
    redirect = partial(
        web._PlainRedirects().redirect_request, asked, io.BytesIO(), 302, "Found", HTTPMessage()
    )
    with pytest.raises(HTTPError, match="https to http"):
        redirect("http://example.org/a")
    followed = redirect("https://example.org/b")
    assert followed is not None
    assert followed.full_url == "https://example.org/b"


@pytest.mark.parametrize(
    "url",
    ["file:///etc/hostname", "ftp://a.org/a", "http://user:word@a.org/a", "a.org/a", "http://"],
)
def test_other_addresses_are_wrong_use(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no plain http or https address"):
        download(url, tmp_path / "a.h5")


def test_a_full_disk_is_seen_before_the_download(
    site: Any, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(free=1_200_000)
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _folder: usage)
    url = site.add("a.h5", content)
    with pytest.raises(DataError, match=r"needs 300 kB more, .* 1\.2 MB free"):
        download(url, tmp_path / "a.h5")
    assert names(tmp_path) == []
    usage.free = 1_400_000
    download(url, tmp_path / "a.h5")


def test_two_downloads_of_one_file_do_not_mix(site: Any, content: bytes, tmp_path: Path) -> None:
    url = site.add("a.h5", content)
    part = Partial.of(tmp_path / "a.h5")
    with part.open(0) as held:
        held.write(b"of the other one")
        held.flush()
        with pytest.raises(DataError, match="another process is downloading it"):
            download(url, tmp_path / "a.h5")
        assert part.path.read_bytes() == b"of the other one"


def test_killed_in_the_middle_it_continues(
    site: Any, content: bytes, sha256: str, tmp_path: Path
) -> None:
    url = site.add("a.h5", content, pause_s=0.1)
    target, part = tmp_path / "a.h5", tmp_path / "a.h5.part"
    code = f"from lowfield_recon.data import download; download({url!r}, {str(target)!r})"
    child = subprocess.Popen([sys.executable, "-c", code])
    end = time.monotonic() + 20
    while not (part.exists() and part.stat().st_size > 50_000) and time.monotonic() < end:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert 0 < part.stat().st_size < len(content)
    assert not target.exists()
    site.files["/a.h5"].pause_s = 0.0
    download(url, target, sha256=sha256)
    assert site.ranges[0] is None
    assert site.ranges[-1] is not None
    assert target.read_bytes() == content
    assert names(tmp_path) == ["a.h5"]
