"""Contributions on a text and on a picture: signed without colour, escaped, in words too, and of bounded size."""

from __future__ import annotations

import re

import pytest

from deepseek.look import grid_regions, image_saliency, text_saliency
from deepseek.look.saliency import MAX_REGIONS, MAX_TOKENS

PIXEL = "data:image/png;base64,AAAA"


def plain(drawn: str) -> str:
    return re.sub(r"<[^>]+>", "", drawn).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def test_a_text_keeps_its_letters_and_shows_signs_sums_and_the_strongest_in_words() -> None:
    text = "<b>late</b> & paid. 很好。"
    parts = [(3, 7, 0.6, 0.05), (14, 18, -0.3, None), (20, 22, float("nan"), None), (4, 6, 9.0, None)]
    drawn = text_saliency(text, parts, [(0, 19, 0.3), (20, 23, -0.1)], title="n")
    marked = drawn[drawn.index('<p class="marked">') : drawn.index("</p>")]
    assert plain(re.sub(r'<span class="amount">[^<]*</span>', "", marked)) == text
    assert re.findall(r'<span class="(\w+-\d)" title="([^"]+)">(\w+)<', drawn) == [
        ("up-6", "+0.600 ± 0.0500", "late"),  # what overlaps it is left out
        ("down-3", "−0.300", "paid"),
    ]
    assert re.findall(r'"said (\w+)"', drawn) == ["up", "down"]
    assert re.findall(r'"amount">([^<]*)<', drawn) == ["+0.300", "−0.100"]
    assert "Raises it most: “late” +0.600. Lowers it most: “paid” −0.300." in drawn


def test_a_picture_stands_once_in_the_page_and_its_regions_bear_their_signs() -> None:
    drawn = image_saliency(
        [((0, 0, 50, 50), 1.0), ((50, 0, 100, 50), -0.5), ((0, 0, 0, 9), 3.0)], title="<s>", picture=PIXEL
    )
    assert drawn.count(PIXEL) == 1
    assert re.findall(r'class="lit-(\w+) lit-(\d)"', drawn) == [("up", "6"), ("down", "3")]
    assert re.findall(r'sign-mark">(.)<', drawn) == ["+", "−"]
    assert "Raises it most: centre left (0–50 × 0–50) +1.00." in drawn
    assert "<s>" not in drawn
    with pytest.raises(ValueError, match="asks for nothing"):
        image_saliency([], title="t", picture="https://example.org/a.png")


def test_pixels_are_summed_to_regions_and_what_is_too_much_is_told() -> None:
    grid = [[1.0] * 100 for _ in range(60)]
    regions = grid_regions(grid)
    assert len(regions) == 14 * 14
    assert sum(value for _, value in regions) == 6000
    many = image_saliency([((k, 0, k + 1, 1), float(k)) for k in range(1000)], title="t")
    assert many.count("<rect") == MAX_REGIONS + 2  # and the frames of the whole and of the strongest
    text = "ab " * 1000
    drawn = text_saliency(text, [(3 * k, 3 * k + 2, 0.5, None) for k in range(1000)], title="t")
    assert f"{1000 - MAX_TOKENS} more tokens, +300 in all" in drawn
    assert "Nothing here moved the answer" in text_saliency("", [], title="t")


def test_a_map_has_the_shape_and_the_size_of_its_picture() -> None:
    """A model that sees a picture squashed into a square: its regions lie on the picture as it is."""
    picture = "data:image/png;base64,iVBORw0KGgo="
    html = image_saliency(
        [((0, 0, 48, 96), 0.5), ((48, 0, 96, 96), -0.25)], title="t", picture=picture, size=(96, 96),
        picture_size=(200, 120),
    )  # fmt: skip
    assert '<image id="picture-' in html
    assert 'width="200.0" height="120.0"' in html
    assert 'x="216.0"' in html  # the map stands beside it, behind a gap of 16
    squashed = image_saliency([((0, 0, 96, 96), 0.5)], title="t", picture=picture, size=(96, 96))
    assert 'width="224.0" height="224.0"' in squashed
