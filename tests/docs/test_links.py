"""Links of every page of the repository: to files that are there, and to headings that are there."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest
from website.links import CODE, LINK, is_external, rewrite_links
from website.pages import ROOT

PAGES = sorted(
    path
    for folder, pattern in ((ROOT, "*.md"), (ROOT / "docs", "**/*.md"), (ROOT / "examples", "*/README.md"))
    for path in folder.glob(pattern)
    if "website" not in path.parts
)


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub and the site make it: letters of any script, numbers, - and _."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
    kept = "".join(sign for sign in text if sign in " -_" or unicodedata.category(sign)[0] in "LN")
    return kept.replace(" ", "-")


@cache
def anchors(path: Path) -> frozenset[str]:
    text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    taken: dict[str, int] = {}
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        taken[slug(heading)] = taken.get(slug(heading), -1) + 1
    return frozenset(name + (f"-{copy}" if copy else "") for name, last in taken.items() for copy in range(last + 1))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings_that_are_there(page: Path) -> None:
    broken = []
    for _, target, _ in LINK.findall(CODE.sub("", page.read_text("utf-8"))):
        if is_external(target):
            continue
        name, _, anchor = unquote(target).partition("#")
        file = (page.parent / name) if name else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


def test_a_broken_anchor_is_seen() -> None:
    assert "the-file-format" not in anchors(ROOT / "docs" / "guides" / "serving.md")
    assert slug("`ship`: what it does") == "ship-what-it-does"
    assert slug("谁可以提问") == "谁可以提问"


def test_a_link_to_a_file_that_is_no_page_ends_the_build() -> None:
    pages = {"docs/guides/ship.md": "guides/ship.md", "docs/log.md": "log.md"}
    text = "See [ship](guides/ship.md#options), `[no](link.md)` and [out](https://example.org)."
    assert rewrite_links(text, "docs/log.md", "project/log.md", pages) == (
        "See [ship](../guides/ship.md#options), `[no](link.md)` and [out](https://example.org)."
    )
    with pytest.raises(LookupError, match=r"docs/log\.md links to gone\.md"):
        rewrite_links("[gone](gone.md)", "docs/log.md", "log.md", pages)
