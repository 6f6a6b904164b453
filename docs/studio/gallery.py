"""What each page of the gallery shows in its picture: the page of Chromium that its code leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from website.snippets import as_script, blocks

PAGES = Path(__file__).resolve().parents[1] / "gallery"
#: Page of the gallery -> the file that its code writes and its picture shows.
REPORTS = {  # maintenance and process show the pictures of their guides
    "audio": "sounds.html",
    "compliance": "findings.html",
    "ct": "scans.html",
    "defects": "surface.html",
    "fraud": "why.html",
    "images": "digits.html",
    "series": "pumps.html",
    "tables": "why.html",
    "text": "topics.html",
    "video": "films.html",
}


def run_page(name: str, folder: Path, port: int) -> str:
    """Runs all code of a page in a folder, its server at `port`; what was printed. RuntimeError where a block fails."""
    script = as_script(blocks((PAGES / f"{name}.md").read_text("utf-8"))).replace("8000", str(port))
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    run = subprocess.run(["bash", "-c", script], cwd=folder, env=env, capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(f"the gallery's page {name} failed:\n{run.stdout}{run.stderr}")
    return run.stdout


def _material(name: str) -> Callable[[Path], AbstractContextManager[str]]:
    @contextmanager
    def material(folder: Path) -> Iterator[str]:
        """The page that the code of the gallery's page leaves behind."""
        own = folder / f"gallery-{name}"
        if not (own / REPORTS[name]).is_file():
            own.mkdir(exist_ok=True)
            run_page(name, own, 8000)  # none of these pages serves
        yield (own / REPORTS[name]).as_uri()

    return material


def gallery_materials() -> dict[str, Callable[[Path], AbstractContextManager[str]]]:
    """Every page of the gallery that has a picture of its own, by the name of the picture."""
    return {f"gallery-{name}": _material(name) for name in REPORTS}
