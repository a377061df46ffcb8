"""A study that never ran, with numbers like those of one that did, and a browser to look at it."""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

HOSTILE = '<script>document.title="taken"</script> & "$x$" \'</script>'
METHODS = ("cdl-lambda", "modl", "net-only", "tv", HOSTILE)
AXES = {
    "noise": ("Noise level", "of the signal", (0.06, 0.12, 0.3)),
    "window": ("Resolution window", "", (0.25, 0.75)),
    "anatomy": ("Anatomy", "", ("knee",)),
    "noise+window": ("", "", ("0.3 + 0.25",)),
}
METRICS = {
    "ssim": ("SSIM", "", True, 0.8, 0.03),
    "psnr_db": ("PSNR", "dB", True, 31.0, 1.0),
    "nrmse": ("NRMSE", "", False, 0.12, 0.01),
    "blur_effect": ("Blur effect", "", None, 0.35, 0.02),
}
SEEDS = (0, 1)


def _interval(values: np.ndarray) -> dict[str, float]:
    half = 1.96 * float(np.std(values)) / np.sqrt(len(values))
    mean = float(np.mean(values))
    return {"mean": mean, "low": mean - half, "high": mean + half}


def make_study(folder: Path, *, n_images: int = 6, size: int = 48, seed: int = 7) -> dict:
    """Return results as in `study.json` and write their panels to a folder."""
    generator = np.random.default_rng(seed)
    images = [
        {"name": f"sub-{i // 2:02d} slice {i % 2}", "subject": f"sub-{i // 2:02d}",
         "domain": "brain T1"}
        for i in range(n_images)
    ]  # fmt: skip
    conditions = [
        {"name": "in distribution", "axis": "", "level": "", "unit": "", "is_reference": True,
         "title": "In distribution", "is_paired": True, "numeric_level": None}
    ]  # fmt: skip
    for axis, (title, unit, levels) in AXES.items():
        for level in levels:
            conditions.append(
                {"name": f"{axis}={level}", "axis": axis, "level": str(level), "unit": unit,
                 "title": f"{title or 'Noise and window'} {level}", "is_reference": False,
                 "is_paired": axis != "anatomy",
                 "numeric_level": level if isinstance(level, float) else None}
            )  # fmt: skip
    study = {
        "schema": "lowfield-recon study, version 1",
        "title": "Does the model make it robust? <b>A & B</b>",
        "question": "Which method suffers least when the data differ from those of the training?",
        "settings": {"bootstrap": {"resamples": 2000}, "seeds": list(SEEDS)},
        "environment": {"torch": "2.14", "threads": 1},
        "methods": [
            {"name": name, "label": name if name == HOSTILE else name.upper(), "method": "cdl",
             "settings": {"iterations": 64}, "weights": "brain" if i % 2 else None,
             "parameters": 111_000 + i, "note": HOSTILE if i == 4 else ""}
            for i, name in enumerate(METHODS)
        ],
        "reference_method": "cdl-lambda",
        "conditions": conditions,
        "axes": [
            {"name": n, "title": t, "unit": u, "trained": [0, 0.2] if n == "noise" else None}
            for n, (t, u, _) in AXES.items() if t
        ],
        "metrics": [
            {"name": n, "title": t, "unit": u, "higher_is_better": h}
            for n, (t, u, h, _, _) in METRICS.items()
        ],
        "seeds": list(SEEDS),
        "images": images,
        **{key: [] for key in ("levels", "degradation", "difference_in_differences", "ranks",
                               "pairs", "checks", "uncertainty", "panels", "verdict")},
        "failures": [
            {"method": "tv", "condition": "noise=0.3", "image": images[1]["name"], "seed": 0,
             "failure": "tv: did not converge <i>in</i> 100 iterations"}
        ],
        "seconds": 345.6,
        "notes": ["1 of 480 rows failed."],
    }  # fmt: skip
    _scores(study, generator)
    _extras(study, generator)
    _panels(study, folder, generator, size)
    return study


def _scores(study: dict, generator: np.random.Generator) -> None:
    names = [c["name"] for c in study["conditions"]]
    n = len(study["images"]) * len(SEEDS)
    for metric, (_, _, better, base, spread) in METRICS.items():
        sign = -1 if better is False else 1
        scores = {}
        for (i, method), (c, condition) in itertools.product(enumerate(METHODS), enumerate(names)):
            loss = spread * (0.6 + 0.4 * i) * c / 2
            scores[method, condition] = base + sign * (spread * (2 - i) - loss) + generator.normal(
                0, spread / 2, n
            )  # fmt: skip
        for condition in names:
            order = sorted(METHODS, key=lambda m: -sign * scores[m, condition].mean())
            study["ranks"] += [
                {"condition": condition, "metric": metric, "method": m, "rank": order.index(m) + 1}
                for m in METHODS
                if better is not None
            ]
        for method, condition in itertools.product(METHODS, names):
            key = {"method": method, "condition": condition, "metric": metric}
            values, start = scores[method, condition], scores[method, "in distribution"]
            study["levels"].append(
                {**key, **_interval(values), "median": float(np.median(values)),
                 "trimmed_mean": float(np.mean(np.sort(values)[1:-1])), "n_rows": n,
                 "n_subjects": 3, "n_failed": int(method == "tv" and condition == "noise=0.3")}
            )  # fmt: skip
            if condition == "in distribution":
                continue
            study["degradation"].append({**key, **_interval(values - start), "n_subjects": 3})
            if method != "cdl-lambda":
                change = scores["cdl-lambda", condition] - scores["cdl-lambda", "in distribution"]
                study["difference_in_differences"].append(
                    {**key, **_interval(values - start - change), "p": 0.01, "p_holm": 0.02,
                     "is_primary": method == "net-only" and condition.startswith("anatomy")}
                )  # fmt: skip
            if not condition.startswith("anatomy"):
                rows = itertools.product(study["images"], SEEDS)
                study["pairs"] += [
                    {**key, "image": image["name"], "seed": s, "reference": float(a),
                     "shifted": float(b)}
                    for (image, s), a, b in zip(rows, start, values, strict=True)
                    if not any(
                        (f["method"], f["condition"], f["image"], f["seed"])
                        == (method, condition, image["name"], s)
                        for f in study["failures"]
                    )
                ]  # fmt: skip


def _extras(study: dict, generator: np.random.Generator) -> None:
    claim = "CDL-LAMBDA suffers less because of its model"
    study["verdict"] = [
        {"claim": claim, "metric": metric, "method": "net-only", "axis": "anatomy",
         "sentence": f"{metric}: difference −0.041 [−0.060, −0.020], Holm p = 0.02.",
         "supports": supports}
        for metric, supports in (("ssim", True), ("nrmse", None))
    ] + [
        {"claim": claim, "metric": metric, "method": method, "axis": "all shifts",
         "sentence": f"{method} over all shifts in {metric}: 0.01 [0.00, 0.02].",
         "supports": (True, False, None)[i % 3]}
        for i, (metric, method) in enumerate(
            itertools.product(("ssim", "psnr_db", "nrmse"), METHODS[1:])
        )
    ]  # fmt: skip
    for method, condition in itertools.product(METHODS[:3], ("in distribution", "noise=0.3")):
        key = {"method": method, "condition": condition, "image": study["images"][0]["name"]}
        study["checks"].append(
            {**key, "null_space_fraction": float(generator.uniform(0, 0.2)), "instability": None}
        )
        study["uncertainty"].append(
            {**key, "mean_std": 0.02,
             "coverage": {s: float(s) * generator.uniform(0.6, 1) for s in ("0.5", "0.9", "0.95")}}
        )  # fmt: skip


def _panels(study: dict, folder: Path, generator: np.random.Generator, size: int) -> None:
    folder.mkdir(exist_ok=True)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    for condition, i in itertools.product(("in distribution", "noise=0.3"), (0, 1)):
        head = (x**2 + (1.2 * y) ** 2 < 0.8) * (0.55 + 0.3 * np.cos(7 * x + i) * np.cos(5 * y))
        arrays = {"reference": head}
        for k, method in enumerate(METHODS):
            if method == "tv" and condition == "noise=0.3" and i == 1:
                continue
            noise = generator.normal(0, 0.01 * (k + 1), head.shape)
            arrays[f"image:{method}"] = np.abs(head + noise)
        arrays["lambda:cdl-lambda"] = 0.1 + 0.2 * np.hypot(x, y)
        arrays["std:cdl-lambda"] = np.full_like(head, 0.01) * (1 + head)
        name = f"{'reference' if condition == 'in distribution' else 'noise'}-{i}.npz"
        np.savez(folder / name, **{key: a.astype(np.float32) for key, a in arrays.items()})
        study["panels"].append(
            {"condition": condition, "image": study["images"][i]["name"], "seed": 0, "file": name,
             "methods": [m for m in METHODS if f"image:{m}" in arrays], "data_range": 0.9}
        )  # fmt: skip


class Browser:
    """Headless Chromium, spoken to through its debugging pipe: no port, no library."""

    def __init__(self, executable: str, profile: Path) -> None:
        to_read, self._writing = os.pipe()
        self._reading, to_write = os.pipe()
        flags = (
            "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
            "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
            f"--user-data-dir={profile}", "about:blank",
        )  # fmt: skip
        # The browser reads from 3 and writes to 4; the shell puts the pipes there.
        line = f'exec "$0" "$@" 3<&{to_read} 4>&{to_write}'
        self._process = subprocess.Popen(
            ["bash", "-c", line, executable, *flags],
            pass_fds=(to_read, to_write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_read)
        os.close(to_write)
        self._rest, self._number, self._session = b"", 0, None
        self.events: list[dict] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: object) -> dict:
        """Send a command and return its answer; events that come meanwhile are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._writing, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _receive(self) -> dict:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._reading], [], [], 60)
            assert ready, "the browser has not answered for a minute"
            block = os.read(self._reading, 1 << 20)
            assert block, "the browser has ended"
            self._rest += block
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def open(
        self, path: Path, fragment: str = "", *, width: int = 1280, height: int = 900,
        media: tuple[tuple[str, str], ...] = (), medium: str = "",
    ) -> None:  # fmt: skip
        """Open a page in a window of this size and wait until its script has run."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        features = [{"name": name, "value": value} for name, value in media]
        self.send("Emulation.setEmulatedMedia", media=medium, features=features)
        self.send("Page.navigate", url="about:blank")
        self.events.clear()
        self.send("Page.navigate", url=f"file://{path}{fragment}")
        deadline = time.monotonic() + 60
        while self.run("document.documentElement?.dataset.ready") != "yes":
            assert time.monotonic() < deadline, self.complaints()
            time.sleep(0.02)

    def run(self, expression: str) -> object:
        """Return the value of a JavaScript expression."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, seconds: float) -> None:
        """Let the page do what it does after an event."""
        pause = f"new Promise((done) => setTimeout(done, {1000 * seconds}))"
        self.send("Runtime.evaluate", expression=pause, awaitPromise=True)

    def press(self, *keys: str) -> None:
        """Press keys by name, such as Tab or ArrowRight."""
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "End": 35, "Home": 36,
                 "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}  # fmt: skip
        for key in keys:
            about = {"key": key, "code": "Space" if key == " " else key,
                     "windowsVirtualKeyCode": codes[key]}  # fmt: skip
            letters = {"Enter": "\r", " ": " "}
            down = {"text": letters[key]} if key in letters else {}
            self.send("Input.dispatchKeyEvent", type="keyDown", **about, **down)
            self.send("Input.dispatchKeyEvent", type="keyUp", **about)

    def complaints(self) -> list[object]:
        """Return errors of scripts, of the content-security policy, and of the console."""
        self.run("0")
        return [
            event["params"]
            for event in self.events
            if event.get("method") == "Runtime.exceptionThrown"
            or (event.get("method") == "Log.entryAdded"
                and event["params"]["entry"]["level"] in ("error", "warning"))
            or event.get("method") == "Runtime.consoleAPICalled"
        ]  # fmt: skip

    def requests(self) -> list[str]:
        """Return the addresses that were asked for, embedded pictures left out."""
        self.run("0")
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
            and not event["params"]["request"]["url"].startswith("data:")
        ]

    def picture(self, path: Path) -> None:
        """Save what the whole page looks like."""
        data = self.send("Page.captureScreenshot", captureBeyondViewport=True, format="png")["data"]
        path.write_bytes(base64.b64decode(data))

    def close(self) -> None:
        """End the browser that was started."""
        self._session = None
        self.send("Browser.close")
        self._process.wait(timeout=30)
        os.close(self._writing)
        os.close(self._reading)


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """The results of a study, its panels, and the page of both."""
    from lowfield_recon.evaluation.study_report import write_study_report

    folder = tmp_path_factory.mktemp("study")
    study = make_study(folder / "panels")
    page = write_study_report(study, folder / "panels", folder / "report.html")
    return SimpleNamespace(study=study, panels=folder / "panels", page=page)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A browser for all tests of this folder."""
    found = Browser(shutil.which("chromium"), tmp_path_factory.mktemp("profile"))
    yield found
    found.close()
