"""Takes the pictures of the docs from the running product: `python docs/make_pictures.py [--work DIR] [--only NAME]`.

Everything is made anew from data that comes along: bundles are shipped, a server answers, pages are written by the
verbs of the command line. Chromium then takes each page in both themes and both languages, cut to what is worth
seeing, as WebP of at most 120 kB. Chinese needs a font that has it (fonts-noto-cjk); without one it is left out.
What was made stays in --work, so that one picture can be taken again without the rest.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from studio.materials import Material, materials

PICTURES = Path(__file__).with_name("pictures")
MOST_BYTES = 120_000
LOCALES = {"en": "en-US", "zh": "zh-CN"}
THEMES = ("light", "dark")
SCALE = 1.5  # device pixels for a pixel of CSS: sharp on a good screen, small enough on a bad line
PATIENCE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture: which page, how wide the window is, and which part of it is kept."""

    name: str
    material: str  # of studio/materials.py
    width: int = 1040
    top: int = 0  # of what is kept, in px of CSS
    height: int = 720
    start_at: str = ""  # a selector: `top` counts from there
    prepare: Callable[[Page], None] | None = None


def explain_example(page: Page) -> None:
    """Asks the console's example and waits for the reasons."""
    page.wait_for_selector("#fields input")
    for _ in range(3):  # the first answers wait for what is read once
        page.click("button[value=explain]")
        page.wait_for_selector("#why svg")
        page.wait_for_load_state("networkidle")
    page.mouse.move(0, 0)


def draw_box(page: Page) -> None:
    """Enters a name and draws a box around what is in the middle of the picture."""
    page.wait_for_load_state("networkidle")
    name = page.locator("input[type=text]:visible, input:not([type]):visible").first
    if name.count():
        name.fill("Ann")
        name.press("Enter")
    page.wait_for_timeout(1_500)
    stage = page.locator("canvas:visible, svg:visible, img:visible").first.bounding_box()
    if stage is not None:
        left, top = stage["x"] + 0.22 * stage["width"], stage["y"] + 0.2 * stage["height"]
        page.mouse.move(left, top)
        page.mouse.down()
        page.mouse.move(left + 0.5 * stage["width"], top + 0.6 * stage["height"], steps=8)
        page.mouse.up()
        page.wait_for_timeout(400)


def ask_assistant(page: Page) -> None:
    """Two questions, one of which is none of the shop's."""
    for question in ("Where is my parcel?", "Who won the match yesterday?"):
        answers = page.locator(".turn.assistant")
        before = answers.count()
        page.get_by_role("textbox").first.fill(question)
        page.keyboard.press("Enter")
        answers.nth(before).wait_for()


def sort_by_error(page: Page) -> None:
    """The pictures of which the model is least sure come first."""
    page.click("button[data-order=error]")
    page.mouse.move(0, 0)


def open_rows(page: Page) -> None:
    """Rows lie behind the gallery of a page of data."""
    page.locator("#rows summary").first.click()


SHOTS = (
    Shot("console", "console", top=-70, height=860, start_at="#result", prepare=explain_example),
    Shot("report", "report", height=900),
    Shot("citations", "citations", height=770),
    Shot("process", "process", top=-20, height=800, start_at="#front"),
    Shot("fleet", "fleet", height=790),
    Shot("rings", "rings", height=866),
    Shot("label", "label", height=760, prepare=draw_box),
    Shot("card", "card", width=860, height=560),
    Shot("chat", "chat", width=760, height=640, prepare=ask_assistant),
    Shot("gallery-audio", "gallery-audio", height=640, start_at="#rows", top=-28),
    Shot("gallery-compliance", "gallery-compliance", height=760),
    Shot("gallery-ct", "gallery-ct", height=930, start_at="#rows", top=-28, prepare=open_rows),
    Shot("gallery-defects", "gallery-defects", height=1030),
    Shot("gallery-fraud", "gallery-fraud", height=640, start_at="#rows", top=-28),
    Shot("gallery-images", "gallery-images", height=700, prepare=sort_by_error),
    Shot("gallery-series", "gallery-series", height=640, start_at="#rows", top=-28),
    Shot("gallery-tables", "gallery-tables", height=760),
    Shot("gallery-text", "gallery-text", height=460, start_at="#rows", top=-28),
    Shot("gallery-video", "gallery-video", height=930, start_at="#rows", top=-28, prepare=open_rows),
)


def has_chinese_font() -> bool:
    """Whether this machine can show Chinese."""
    listed = subprocess.run(["fc-list", ":lang=zh-cn"], capture_output=True, text=True, check=False)
    return bool(listed.stdout.strip())


def take(browser: Browser, shot: Shot, address: str, language: str, theme: str) -> bytes:
    """The picture as PNG."""
    context = browser.new_context(
        viewport={"width": shot.width, "height": 900}, device_scale_factor=SCALE, locale=LOCALES[language],
        color_scheme="dark" if theme == "dark" else "light", reduced_motion="reduce",
    )  # fmt: skip
    try:
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(address)
        if shot.prepare is not None:
            shot.prepare(page)
        top = shot.top
        if shot.start_at:
            box = page.locator(shot.start_at).first
            top += int(box.evaluate("(part) => part.getBoundingClientRect().top + scrollY"))
        high = min(shot.height, int(page.evaluate("document.documentElement.scrollHeight")) - top)
        clip = {"x": 0.0, "y": float(top), "width": float(shot.width), "height": float(high)}
        return page.screenshot(full_page=True, clip=clip)  # type: ignore[arg-type]
    finally:
        context.close()


def compressed(png: bytes) -> bytes:
    """The picture as WebP, as good as MOST_BYTES lets it be."""
    picture = Image.open(BytesIO(png)).convert("RGB")
    for quality in (90, 84, 78, 70, 60, 50):
        out = BytesIO()
        picture.save(out, "WEBP", quality=quality, method=6)
        if out.tell() <= MOST_BYTES:
            return out.getvalue()
    raise ValueError(f"a picture of {picture.size} stays above {MOST_BYTES} bytes; take less of the page")


def main() -> None:
    parser = argparse.ArgumentParser(description="Take the pictures of the docs from the running product.")
    parser.add_argument("--work", type=Path, help="folder for what is made; kept (default: one that is removed)")
    parser.add_argument("--only", action="append", choices=[shot.name for shot in SHOTS], help="take this one alone")
    options = parser.parse_args()
    work = options.work or Path(tempfile.mkdtemp(prefix="deepseek-pictures-"))
    work.mkdir(parents=True, exist_ok=True)
    PICTURES.mkdir(exist_ok=True)
    languages = [language for language in LOCALES if language == "en" or has_chinese_font()]
    shots = [shot for shot in SHOTS if not options.only or shot.name in options.only]
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            for shot in shots:
                maker: Callable[[Path], Material] = materials()[shot.material]
                with maker(work) as address:
                    for language in languages:
                        for theme in THEMES:
                            data = compressed(take(browser, shot, address, language, theme))
                            (PICTURES / f"{shot.name}-{theme}-{language}.webp").write_bytes(data)
                            print(f"{shot.name} {theme} {language}: {len(data):,} bytes", file=sys.stderr)
            browser.close()
    finally:
        if options.work is None:
            shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
