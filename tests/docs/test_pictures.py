"""The pictures of the docs: each in both themes and languages, small, and drawn from the imports of today."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from make_pictures import MOST_BYTES, SHOTS, THEMES
from website.pages import ROOT

PICTURES = ROOT / "docs" / "pictures"


@pytest.mark.parametrize("name", [shot.name for shot in SHOTS])
def test_a_picture_is_there_in_both_themes_and_languages_and_is_small(name: str) -> None:
    for theme in THEMES:
        for language in ("en", "zh"):
            file = PICTURES / f"{name}-{theme}-{language}.webp"
            assert file.is_file(), "to mend it: make pictures"
            assert 5_000 < file.stat().st_size <= MOST_BYTES


def test_no_picture_is_left_over() -> None:
    shown = {f"{shot.name}-{theme}-{language}.webp" for shot in SHOTS for theme in THEMES for language in ("en", "zh")}
    assert {file.name for file in PICTURES.glob("*.webp")} == shown


@pytest.mark.parametrize("file", sorted(PICTURES.glob("*.svg")), ids=lambda file: file.name)
def test_a_drawing_asks_for_nothing(file: Path) -> None:
    text = file.read_text("utf-8")
    assert len(text) <= MOST_BYTES
    assert re.findall(r"""(?:href|src)=["'](?!#)|url\((?!#)|<script|@import""", text) == []
