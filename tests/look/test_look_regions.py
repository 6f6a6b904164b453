"""Regions and words are shaded by their values, and nothing of a text or an address gets onto the page unescaped."""

from __future__ import annotations

import re

import pytest

from deepseek.look.regions import heat_grid, shade_text

PIXEL = "data:image/png;base64,AAAA"


def test_cells_are_shaded_by_their_share_of_the_largest() -> None:
    drawn = heat_grid(PIXEL, [[0.0, 0.5], [1.0, -1.0]], title="t", size=(100, 50))
    cells = re.findall(r'<rect class="heat heat-(\d)" x="(\d+)" y="(\d+)" width="50" height="25">', drawn)
    assert cells == [("3", "50", "0"), ("6", "0", "25")]  # none for zero and below
    assert re.findall(r'class="heat-most" x="(\d+)" y="(\d+)"', drawn) == [("0", "25")]
    assert drawn.index("<image") < drawn.index("<rect")


def test_nothing_is_shaded_where_nothing_is_positive() -> None:
    assert "<rect" not in heat_grid(PIXEL, [[0.0, -0.5]], title="t", size=(100, 50))
    assert "span" not in shade_text("a b", [((0, 1), 0.0), ((2, 3), -1.0)])


def test_a_picture_that_the_page_would_ask_for_is_refused() -> None:
    with pytest.raises(ValueError, match="asks for nothing"):
        heat_grid("https://example.org/a.png", [[1.0]], title="t", size=(10, 10))


def test_words_keep_their_text_and_are_escaped() -> None:
    text = "<b>lesion</b> & more"
    drawn = shade_text(text, [((3, 9), 2.0), ((0, 0), 5.0), ((16, 20), 1.0)])
    plain = re.sub(r"<[^>]+>", "", drawn).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert plain == text
    assert re.findall(r'<span class="word-(\d)"[^>]*>(\w+)<', drawn) == [("2", "lesion"), ("1", "more")]
    assert '<span class="word-6"' in shade_text(text, [((3, 9), 2.0)])
