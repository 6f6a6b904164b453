"""A page and its Chinese version say the same: headings, code, rows of tables, pictures and figures."""

from __future__ import annotations

import re

import pytest
from website.pages import CHINESE, HOME, ROOT, WITH_CHINESE
from website.snippets import blocks

PAIRS = {
    f"{folder}/{file.name}": f"{folder}/zh/{file.name}"
    for folder in WITH_CHINESE
    for file in sorted((ROOT / folder).glob("*.md"))
}
PAIRS |= CHINESE | {"README.md": "README.zh-CN.md", HOME["en"]: HOME["zh"]}
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
UNITS = {"thousand": 1e3, "million": 1e6, "billion": 1e9, "千": 1e3, "万": 1e4, "百万": 1e6, "千万": 1e7, "亿": 1e8}
NUMBER = re.compile(
    r"(?<![\w.])(\d[\d,]*(?:\.\d+)?|\.\d+)\s?(%|‰|thousand|million|billion|百万|千万|千|万|亿)?(?![\d])", re.ASCII
)
SMALLEST = 10  # below it languages write words: two parties, twice, 两方


def prose(text: str) -> str:
    """A page without code and without the targets of links."""
    text = re.sub(r"^    .*$", "", FENCE.sub("", text), flags=re.MULTILINE)
    return re.sub(r"\]\([^)]*\)", "]", re.sub(r"`(?:[^`\n]|\n(?!\n))*`|<[^>]*>", "", text))


def figures(text: str) -> set[float]:
    """The numbers of a page in one unit: 26 万 is 260,000, and 2 % is a share of .02. Whole numbers below ten and
    parts of dates are left out."""
    text = re.sub(r"\d{4}-\d\d(?:-\d\d)?|\d+(?:\.\d+){2,}|\d{1,2}:\d\d", "", prose(text))
    text = re.sub(r"([\d.]+)( (?:and|to) [\d.]+ ?%)", r"\1 %\2", text)
    values = set()
    for number, unit in NUMBER.findall(text):
        value = float(number.replace(",", ""))
        if unit in ("%", "‰"):
            value /= 100 if unit == "%" else 1000
        value *= UNITS.get(unit, 1.0)
        if value >= SMALLEST or not value.is_integer():
            values.add(float(f"{value:.6g}"))
    return values


def read(path: str) -> str:
    return (ROOT / path).read_text("utf-8")


def test_figures_are_read_in_both_ways_of_writing() -> None:
    assert figures("260,000 rows, 3.1 million, 2.5 % of .4 on 2024-05-01") == {260_000, 3_100_000, 0.025, 0.4}
    assert figures("26 万行，310 万，2.5 %，0.4") == {260_000, 3_100_000, 0.025, 0.4}
    assert figures("30 and 50 % of them") == {0.3, 0.5}
    assert figures("see [part 12](12.md) and `x = 99`") == {12}


@pytest.mark.parametrize("english", PAIRS)
def test_both_languages_have_the_same_figures(english: str) -> None:
    ours, theirs = figures(read(english)), figures(read(PAIRS[english]))
    assert (sorted(ours - theirs), sorted(theirs - ours)) == ([], []), "in English alone, in Chinese alone"


@pytest.mark.parametrize("english", PAIRS)
def test_both_languages_have_the_same_headings_code_and_pictures(english: str) -> None:
    texts = (read(english), read(PAIRS[english]))
    for pattern in (r"^#+ ", r"^    [^#\n]*", r"^\| `[^`]+`", r"^```\w*$"):  # comments in code may be translated
        matches = [re.findall(pattern, text, flags=re.MULTILINE) for text in texts]
        assert matches[0] == matches[1], pattern
    names = [re.findall(r"[\w-]+\.(?:webp|svg)", text) for text in texts]
    assert names[0] == [name.replace("-zh.", "-en.") for name in names[1]]


@pytest.mark.parametrize("english", PAIRS)
def test_both_languages_have_the_same_code_but_for_its_comments(english: str) -> None:
    pages = [blocks(read(path)) for path in (english, PAIRS[english])]
    for ours, theirs in zip(*pages, strict=True):
        assert without_comments(ours.body) == without_comments(theirs.body)


def without_comments(code: str) -> str:
    return re.sub(r"\s*(?:(?<=\s)|^)#[^\n]*", "", code, flags=re.MULTILINE)


def test_every_page_that_can_be_translated_has_a_pair_that_is_there() -> None:
    missing = [path for pair in PAIRS.items() for path in pair if not (ROOT / path).is_file()]
    assert missing == []
    chinese = {f"{folder}/zh/{file.name}" for folder in WITH_CHINESE for file in (ROOT / folder / "zh").glob("*.md")}
    assert chinese - set(PAIRS.values()) == set()
