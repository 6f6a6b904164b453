"""What makes a page of the site light."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from website.speed import with_both_themes, with_later_script


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for theme in ("light", "dark"):
        Image.new("RGB", (16, 9)).save(tmp_path / f"fleet-{theme}-en.webp")
    return tmp_path


def test_a_picture_has_its_size_and_the_other_theme_waits(pictures: Path) -> None:
    text = with_both_themes("![A fleet](../pictures/fleet-light-en.webp)", pictures)
    assert text == (
        "![A fleet](../pictures/fleet-light-en.webp#only-light){ width=16 height=9 fetchpriority=high }"
        "![A fleet](../pictures/fleet-dark-en.webp#only-dark){ width=16 height=9 loading=lazy }"
    )


def test_pictures_after_the_first_wait_until_they_are_scrolled_to(pictures: Path) -> None:
    text = with_both_themes("![A](fleet-light-en.webp) ![B](fleet-light-en.webp)", pictures)
    assert (text.count("fetchpriority=high"), text.count("loading=lazy")) == (1, 3)


def test_a_theme_that_loads_its_script_in_another_way_ends_the_build() -> None:
    with pytest.raises(ValueError, match="0 times"):
        with_later_script('<script type="module" src="assets/javascripts/main.js"></script>')
