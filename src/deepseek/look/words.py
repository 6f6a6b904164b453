"""Text on a page, in English and Chinese at once; the reader's switch shows one of them.

Everything that reaches a page goes through `escape` here: a column may be called `<script>`.

>>> inline("a < b")
'a &lt; b'
>>> inline(Text("rows", "行"))
'<span class="en" lang="en">rows</span><span class="zh" lang="zh">行</span>'
"""

from __future__ import annotations

import re
from typing import NamedTuple

# Not characters of XML 1.0: an SVG or a page that contains one may not parse.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
# Reverses or hides what follows it: a column name could make "safe" read as something else.
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069\u200e\u200f]")

# The name of a class that says nothing without its column.
_BARE_CLASS = re.compile(
    r"[-+]?\d+(?:\.\d+)?|true|false|yes|no|[ynt]|f|pos(?:itive)?|neg(?:ative)?|是|否", re.IGNORECASE
)


class Text(NamedTuple):
    """The same words in English and in Chinese."""

    en: str
    zh: str


Words = str | Text  # a plain string reads the same in both languages: a column name, a number


class Html(str):
    """Markup that is already safe. Everything else is escaped."""

    __slots__ = ()


def escape(text: object) -> str:
    """`text` for an HTML or SVG text node or a quoted attribute."""
    clean = _BIDI.sub("\ufffd", _FORBIDDEN.sub("\ufffd", str(text)))
    for raw, safe in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&#39;")):
        clean = clean.replace(raw, safe)
    return clean


def inline(words: Words | Html, tag: str = "span") -> Html:
    """`words` as markup; `tag` is "tspan" inside an SVG text."""
    if isinstance(words, Html):
        return words
    if isinstance(words, str):
        return Html(escape(words))
    if words.en == words.zh:
        return Html(escape(words.en))
    return Html(
        f'<{tag} class="en" lang="en">{escape(words.en)}</{tag}><{tag} class="zh" lang="zh">{escape(words.zh)}</{tag}>'
    )


def english(words: Words) -> str:
    """The words for a terminal.

    >>> english(Text("rows", "行")), english("income")
    ('rows', 'income')
    """
    return words.en if isinstance(words, Text) else words


def both_languages(words: Words) -> str:
    """Both languages in one string, not escaped, for where markup cannot stand: a title, an attribute."""
    if isinstance(words, Text):
        return words.en if words.en == words.zh else f"{words.en} · {words.zh}"
    return words


def name_class(label: str, column: str | None = None) -> str:
    """A class as a person knows it: one whose name says nothing by itself (1, yes, True) with its column.

    >>> name_class("1", "fraud"), name_class("malignant", "diagnosis"), name_class("1")
    ('fraud = 1', 'malignant', '1')
    """
    return f"{column} = {label}" if column and _BARE_CLASS.fullmatch(label.strip()) else label


def join(*parts: Words) -> Words:
    """The parts one after the other, in each language.

    >>> join(Text("mean of ", "均值："), "income")
    Text(en='mean of income', zh='均值：income')
    """
    if all(isinstance(part, str) for part in parts):
        return "".join(str(part) for part in parts)
    return Text(
        "".join(part if isinstance(part, str) else part.en for part in parts),
        "".join(part if isinstance(part, str) else part.zh for part in parts),
    )
