"""Text out of somebody's data, as a terminal and a spreadsheet may be given it: shown, and never obeyed.

A label, a column or a file can hold what drives a terminal (escape sequences, ECMA-48), what makes a line read as
another (bidirectional controls, CVE-2021-42574), or what a spreadsheet takes for a formula (OWASP, CSV injection).

>>> escape_for_terminal("loans\\x1b[2J"), escape_for_terminal("年龄 Zürich")
('loans\\\\x1b[2J', '年龄 Zürich')
>>> escape_for_spreadsheet("=1+1"), escape_for_spreadsheet("-3.5"), escape_for_spreadsheet("north")
("'=1+1", '-3.5', 'north')
"""

from __future__ import annotations

import re

_LINE_ENDS = "\n\t"
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but tab and line feed, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional controls
    "\u2028\u2029\ud800-\udfff\ufff9-\ufffb\U000e0000-\U000e007f]"  # line ends, half letters, notes and tags unseen
)
_FORMULA = re.compile("[=+@\t\r\n\uff1d\uff0b\uff0d\uff20-]")  # at the start of a cell; the wide signs, too
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)


def escape_for_terminal(text: str, *, one_line: bool = False) -> str:
    """The text with what is not to be seen written as its code. `one_line`: line ends and tabs, too."""
    clean = _CONTROLS.sub(_escape_code, text)
    return re.sub(f"[{_LINE_ENDS}]", _escape_code, clean) if one_line else clean


def escape_for_spreadsheet(cell: str) -> str:
    """A cell of text of a CSV that no spreadsheet computes: a quote before what could be a formula, and controls as
    their codes. Numbers stay numbers."""
    if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell):
        cell = "'" + cell
    return _CONTROLS.sub(_escape_code, cell)


def _escape_code(match: re.Match[str]) -> str:
    """A control character as Python escapes it: \\x1b."""
    return match[0].encode("unicode_escape").decode("ascii")
