"""Cards: everything of the data is escaped, the style stays inside, dark and light follow the notebook."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from deepseek.bundle import open_bundle
from deepseek.bundle.card import bundle_card
from deepseek.engines.decide import Decision
from deepseek.look.notebook.answers import training_card
from deepseek.look.notebook.card import CLASS, card, disclosure, lines
from deepseek.look.notebook.progress import NotebookProgress, is_notebook, notebook_progress
from deepseek.look.palette import DARK, LIGHT
from deepseek.look.words import Html, Text
from support.servers.browser import OpenPage, browser, collisions, open_page, overflow_px

__all__ = ["browser", "open_page"]


def test_a_card_escapes_what_it_shows_and_keeps_its_style_inside() -> None:
    html = card("<b>", "a < b", lines("<script>"), disclosure("more", Html("<p>x</p>")))
    assert "<script>" not in html
    assert "<b>" not in html
    style = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)[0]
    depth, selectors, start = 0, [], 0
    for place, letter in enumerate(style):  # the rules of the outermost level
        if letter == "{":
            selectors += [style[start:place]] if not depth else []
            depth += 1
        elif letter == "}":
            depth -= 1
            start = place + 1
    assert depth == 0
    assert all(CLASS in selector or selector.startswith("@media") for selector in selectors), selectors


@pytest.mark.slow
def test_a_card_is_dark_where_the_notebook_is_and_nothing_in_it_collides(
    open_page: OpenPage, cancer_bundle: Path, tmp_path: Path
) -> None:
    """In a real browser: JupyterLab's light and dark theme, and neither, on a screen and on a phone."""
    grounds = {}
    for theme, dark in (("true", True), ("false", False), (None, True), (None, False)):
        attribute = "" if theme is None else f" data-jp-theme-light={theme}"
        file = tmp_path / f"card-{theme}-{dark}.html"
        file.write_text(f"<!doctype html><body{attribute}>{bundle_card(open_bundle(cancer_bundle))}", encoding="utf-8")
        page = open_page(file.as_uri(), width=1280 if theme else 390, dark=dark)
        grounds[theme, dark] = page.eval_on_selector(f".{CLASS}", "node => getComputedStyle(node).backgroundColor")
        assert collisions(page) == []
        assert overflow_px(page) <= 0
    light, dark_ground = (f"rgb{tuple(bytes.fromhex(colors['ground'][1:]))}" for colors in (LIGHT, DARK))
    assert grounds == {
        ("true", True): light, ("false", False): dark_ground, (None, True): dark_ground, (None, False): light,
    }  # fmt: skip


def test_the_card_of_a_bundle_has_its_figures_its_columns_and_its_digest(cancer_bundle: Path) -> None:
    bundle = open_bundle(cancer_bundle)
    html = bundle_card(bundle)
    assert bundle.digest in html
    assert "Predicts diagnosis" in html
    assert html.count("<svg") == 2  # for a screen and for a phone
    assert re.search(r"AUC</th><td[^>]*>0\.\d+ \[0\.\d+, [01]\.\d+\]", html)


def test_predictions_of_classes_and_of_values_are_tables_of_the_first_rows() -> None:
    outputs = np.tile(np.array([[0.25, 0.75]], np.float32), (12, 1))
    html = Decision("binary", ("<no>", "yes")).apply(outputs)._repr_html_()
    assert "12 answers" in html
    assert "and 2 more rows" in html
    assert "&lt;no&gt;" in html
    assert html.count("0.750") == 10
    values = Decision("regression", (), half_width=1.0).apply(np.array([[3.0], [5.0]], np.float32))._repr_html_()
    assert "2.00 … 4.00" in values
    assert "from 3.00 to 5.00" in values


def test_a_training_without_an_epoch_and_with_one_are_said() -> None:
    assert "No epoch was finished" in training_card([], [], num_steps=0)
    assert "<svg" not in training_card([0.5], [], num_steps=3)
    assert "<svg" in training_card([0.5, 0.4], [(1.0, 0.6)], num_steps=6)


class Display:
    """What IPython's display gives back: the HTML that stands in the cell."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def update(self, content: str) -> None:
        self.shown.append(content)


def test_progress_writes_over_one_display_and_takes_it_away(monkeypatch: pytest.MonkeyPatch) -> None:
    display = Display()

    def show(content: str, *, display_id: bool) -> Display:
        assert display_id
        display.update(content)
        return display

    shell = SimpleNamespace(kernel=object())
    module = SimpleNamespace(get_ipython=lambda: shell, display=SimpleNamespace(HTML=str, display=show))
    monkeypatch.setitem(sys.modules, "IPython", module)
    progress = notebook_progress(Text("Shipping", "交付"))
    assert isinstance(progress, NotebookProgress)
    for step in range(50):
        progress(f"trial <{step}>", 0.3)
    progress("done", 1.0)
    assert len(display.shown) == 2, "one drawing, for all came at once; then none"
    assert "trial &lt;0&gt;" in display.shown[0]
    assert "width:30.0%" in display.shown[0]
    assert display.shown[-1] == ""


def test_outside_of_a_notebook_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert notebook_progress("x") is None
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=SimpleNamespace))
    assert not is_notebook(), "a terminal's shell has no kernel"
