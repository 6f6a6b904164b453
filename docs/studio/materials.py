"""Each material is made once in a folder and gives the address of its page: a file, or a server that runs meanwhile."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from studio.gallery import gallery_materials
from studio.press import STUDY, measure

ROOT = Path(__file__).resolve().parents[2]
Material = AbstractContextManager[str]
DRAFT = (
    "A commercial bank must not grant unsecured loans to related parties. In the business of personal savings "
    "withdrawal is free and deposits are kept secret. Every branch must close on Fridays. A commercial bank may grant "
    "unsecured loans to related parties.\n"
)


def deepseek(*words: str, folder: Path) -> str:
    """Runs a verb in a folder; what it prints on stdout."""
    run = subprocess.run(
        [sys.executable, "-m", "deepseek", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    if run.returncode:
        sys.exit(f"error: deepseek {' '.join(words)} failed:\n{run.stderr}")
    return run.stdout


@contextmanager
def served(words: list[str], folder: Path, path: str = "/") -> Iterator[str]:
    """A server of a verb at a free port, and the address of its page."""
    log = folder / f"{words[0]}-serve.log"
    with log.open("w") as out:
        process = subprocess.Popen([sys.executable, "-m", "deepseek", *words], cwd=folder, stdout=out, stderr=out)
    try:
        while process.poll() is None:
            if address := re.search(r"http://127\.0\.0\.1:\d+", log.read_text("utf-8")):
                yield address[0] + path
                return
            time.sleep(0.2)
        sys.exit(f"error: deepseek {' '.join(words)} has ended before it served:\n{log.read_text('utf-8')}")
    finally:
        process.terminate()
        process.wait(timeout=60)


def cancer(folder: Path) -> Path:
    """A bundle of 569 tumors, and its table."""
    import pandas as pd

    from deepseek.data.table.examples import load_example

    if not (folder / "cancer" / "bundle.json").is_file():
        deepseek("ship", "--example", "cancer", "--trials", "2", "--out", "cancer", folder=folder)
    pd.DataFrame(dict(load_example("cancer")[0].columns)).to_csv(folder / "cancer.csv", index=False)
    return folder / "cancer"


@contextmanager
def console(folder: Path) -> Iterator[str]:
    cancer(folder)
    with served(["serve", "cancer", "--port", "0"], folder) as address:
        yield address


@contextmanager
def report(folder: Path) -> Iterator[str]:
    if not (folder / "why.html").is_file():
        cancer(folder)
        deepseek("explain", "cancer", "cancer.csv", "--html", "why.html", "--json", folder=folder)
    yield (folder / "why.html").as_uri()


@contextmanager
def citations(folder: Path) -> Iterator[str]:
    """A draft of four sentences against the articles that the benchmark of citations is tuned on."""
    if not (folder / "cited.html").is_file():
        laws = folder / "laws"
        laws.mkdir(exist_ok=True)
        with (ROOT / "benchmarks" / "citations_laws.tsv").open(encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file, delimiter="\t") if row["law"] == "Commercial Banks Law"]
        text = "\n".join(f"{row['article']} {row['text']}" for row in rows)
        (laws / "commercial-banks.txt").write_text(f"Commercial Banks Law\n{text}\n", encoding="utf-8")
        (folder / "draft.txt").write_text(DRAFT, encoding="utf-8")
        deepseek("cite", "draft.txt", "--corpus", "laws", "--html", "cited.html", "--json", folder=folder)
    yield (folder / "cited.html").as_uri()


@contextmanager
def process(folder: Path) -> Iterator[str]:
    """A press with two objectives that pull against each other, after five rounds of four trials."""
    study = ("recipe", "process")
    if not (folder / "press.html").is_file():
        (folder / "press.toml").write_text(STUDY, encoding="utf-8")
        shutil.rmtree(folder / "press", ignore_errors=True)
        deepseek(*study, "init", "press", "--from", "press.toml", folder=folder)
        for _ in range(5):
            for trial in json.loads(deepseek(*study, "ask", "press", "--num", "4", "--json", folder=folder))["trials"]:
                values = [f"{name}={value}" for name, value in measure(trial["recipe"]).items()]
                deepseek(*study, "tell", "press", str(trial["trial"]), *values, folder=folder)
        deepseek(*study, "report", "press", "--html", "press.html", folder=folder)
    yield (folder / "press.html").as_uri()


@contextmanager
def fleet(folder: Path) -> Iterator[str]:
    """Machines that are simulated, cut somewhere in their lives."""
    if not (folder / "fleet.html").is_file():
        import pandas as pd

        from deepseek.recipes.maintenance.example import make_example

        if not (folder / "engines" / "bundle.json").is_file():
            deepseek(
                "recipe", "maintenance", "--example", "--out", "engines", "--trials", "2", "--no-nets", folder=folder
            )
        frame = pd.DataFrame(dict(make_example(7, 14).columns))
        shares = {machine: 0.5 + 0.49 * index / 13 for index, machine in enumerate(sorted(frame["machine"].unique()))}
        lives = frame.groupby("machine")["hour"].transform("max")
        frame[frame["hour"] <= lives * frame["machine"].map(shares)].to_csv(folder / "today.csv", index=False)
        deepseek("predict", "engines", "today.csv", "--out", "rul.csv", "--html", "fleet.html", folder=folder)
    yield (folder / "fleet.html").as_uri()


@contextmanager
def rings(folder: Path) -> Iterator[str]:
    if not (folder / "rings.html").is_file():
        deepseek("recipe", "rings", "--example", "--html", "rings.html", folder=folder)
    yield (folder / "rings.html").as_uri()


@contextmanager
def label(folder: Path) -> Iterator[str]:
    """Parts of two photographs, to be boxed."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    if not (folder / "flowers").is_dir():
        photos = folder / "photos"
        photos.mkdir(exist_ok=True)
        for number, photo in enumerate(load_sample_images().images):
            picture = Image.fromarray(photo)
            for column in range(3):
                part = picture.crop((column * 110, 20, column * 110 + 420, 400))
                part.save(photos / f"{'building' if number == 0 else 'flower'}-{column + 1}.jpg", quality=92)
        deepseek(
            "label",
            "new",
            "photos",
            "--task",
            "boxes",
            "--labels",
            "flower,building,sky",
            "--out",
            "flowers",
            folder=folder,
        )
    with served(["label", "serve", "flowers", "--port", "0", "--no-choose"], folder) as address:
        yield address


@contextmanager
def card(folder: Path) -> Iterator[str]:
    """What a cell of a notebook shows of a bundle."""
    from deepseek.bundle import open_bundle
    from deepseek.bundle.card import bundle_card

    page = folder / "card.html"
    html = bundle_card(open_bundle(cancer(folder)))
    style = "body{margin:24px;font:14px system-ui;color-scheme:light dark}"
    page.write_text(f"<!doctype html><meta charset=utf-8><style>{style}</style>{html}", encoding="utf-8")
    yield page.as_uri()


@contextmanager
def chat(folder: Path) -> Iterator[str]:
    """The chat page of the assistant of the gallery."""
    if not (folder / "help" / "bundle.json").is_file():
        deepseek("recipe", "assistant", "--example", "--out", "help", folder=folder)
    with served(["serve", "help", "--port", "0"], folder, "/chat/help") as address:
        yield address


def materials() -> dict[str, Callable[[Path], Material]]:
    """Every material by its name."""
    makers = (console, report, citations, process, fleet, rings, label, card, chat)
    return {maker.__name__: maker for maker in makers} | gallery_materials()
