"""A checklist in TOML: what is read, and what is refused with the line that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepseek.citations.review.lines import checklist_of, read_checklist
from deepseek.errors import InputError, MissingError

GOOD = """
[checklist]
name = "Suppliers"

[[line]]
id = "cap"
text = "The liability is limited."
risk = "high"
source = "Policy 4"

[[line]]
id = "change"
text = "The supplier may change the terms alone."
expect = "absent"

[[line]]
id = "old"
text = "The supplier sends reports by fax."
status = "struck"
"""


def read(folder: Path, text: str) -> object:
    (folder / "c.toml").write_text(text, encoding="utf-8")
    return read_checklist(folder / "c.toml")


def test_lines_have_defaults_and_struck_ones_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(GOOD)
    checklist = read_checklist(tmp_path / "c.toml")
    assert (checklist.name, checklist.ids) == ("Suppliers", ("cap", "change"))
    cap, change = checklist.lines
    assert (cap.expect, cap.risk, cap.name, dict(cap.origin)) == ("present", "high", cap.text, {"source": "Policy 4"})
    assert (change.expect, change.risk) == ("absent", "medium")
    assert checklist_of(checklist.to_dict(), "again") == checklist


CHANGE = 'text = "The supplier may change the terms alone."'
WANTED = f'{CHANGE}\nexpect = "absent"'


@pytest.mark.parametrize(("change", "problem"), [
    (('id = "change"', 'id = "CAP"'), "the id 'CAP' twice: lines 1 and 2"),
    (('risk = "high"', 'risk = "huge"'), r"line 1 of c.toml \('cap'\): risk is 'huge'"),
    (('risk = "high"', 'rsk = "high"'), "unknown field 'rsk'"),
    (('risk = "high"', "risk = 3"), "risk is 3"),
    (('text = "The liability is limited."', 'text = " "'), "has no text"),
    (('id = "cap"', 'id = "a b"'), "may not be written so"),
    (("[checklist]", "[list]"), "unknown table 'list'"),
    ((CHANGE, 'text = "the liability is  limited"'), "contradict each other"),
    ((WANTED, 'text = "the liability is  limited"'), "say the same"),
    ((WANTED, 'text = "The liability is not limited."'), "contradict each other"),
])  # fmt: skip
def test_what_is_wrong_is_named(tmp_path: Path, change: tuple[str, str], problem: str) -> None:
    assert change[0] in GOOD
    with pytest.raises(InputError, match=problem) as refused:
        read(tmp_path, GOOD.replace(*change))
    assert refused.value.fix


def test_a_checklist_without_lines_or_of_struck_ones_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no line"):
        read(tmp_path, '[checklist]\nname = "x"\n')
    with pytest.raises(InputError, match=r"no line of c\.toml is accepted"):
        read(tmp_path, '[[line]]\nid = "a"\ntext = "b"\nstatus = "proposed"\n')
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path, "[[line")
    with pytest.raises(MissingError):
        read_checklist(tmp_path / "none.toml")
