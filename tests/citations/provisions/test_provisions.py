"""What a text lays down, by its words: kinds, subjects, conditions, and what lays down nothing."""

from __future__ import annotations

import pytest

from deepseek.citations.provisions.provision import Provision
from deepseek.citations.provisions.reading import read_provisions


def told(text: str) -> list[tuple[str, str, str]]:
    """Kind, subject and condition of each duty of a text."""
    return [
        (each.kind, each.subject.of(text) if each.subject else "", "; ".join(span.of(text) for span in each.condition))
        for each in read_provisions(text)
        if each.kind in ("obligation", "prohibition", "permission")
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("仓库管理人应当登记入库货物，不得夹带危险品。",
         [("obligation", "仓库管理人", ""), ("prohibition", "仓库管理人", "")]),
        ("货主要求查验的，仓库管理人应当配合；拒不配合的，货主可以解除合同。",
         [("obligation", "仓库管理人", "货主要求查验的"), ("permission", "货主", "拒不配合的")]),
        ("禁止任何单位和个人擅自拆封。", [("prohibition", "任何单位和个人", "")]),
        ("因保管不善造成损失的，由仓库管理人承担赔偿责任。", [("obligation", "仓库管理人", "因保管不善造成损失的")]),
        ("存货人可以提前取货，但是合同另有约定的除外。", [("permission", "存货人", "合同另有约定的除外")]),
        ("法律规定必须报经批准的，应当办理手续。", [("obligation", "", "法律规定必须报经批准的")]),
        ("所需费用由存货人负担。", [("obligation", "存货人", "")]),
    ],
)  # fmt: skip
def test_chinese_signal_words_give_kind_subject_and_condition(text: str, expected: list[tuple[str, str, str]]) -> None:
    assert told(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The keeper must log every crate and shall not open it without the owner's written consent.",
         [("obligation", "The keeper", ""), ("prohibition", "The keeper", "without the owner's written consent")]),
        ("If a crate is damaged, the owner may refuse it.", [("permission", "the owner", "If a crate is damaged")]),
        ("Neither party may assign this lease unless the other agrees in writing.",
         [("prohibition", "Neither party", "unless the other agrees in writing")]),
        ("The tenant agrees not to keep animals.", [("prohibition", "The tenant", "")]),
        ("Upon request by the owner, the keeper shall return the crates.",
         [("obligation", "the keeper", "Upon request by the owner")]),
        ("No fee shall be charged.", [("prohibition", "No fee", "")]),
    ],
)  # fmt: skip
def test_english_signal_words_give_kind_subject_and_condition(text: str, expected: list[tuple[str, str, str]]) -> None:
    assert told(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "本规则所称货物，是指存放于仓库的动产。", "国家支持仓储业发展。", "本规则自2024年5月1日起施行。",
        "保管期限由当事人约定。",
        "This lease shall be governed by the law of the place.", "“Crate” shall mean a box of wood.",
        "No delay shall operate as a waiver.", "If a term is void, the rest shall remain in force.",
    ],
)  # fmt: skip
def test_what_only_declares_lays_down_nothing(text: str) -> None:
    assert told(text) == []


def test_a_punishment_is_a_penalty_and_no_duty_though_its_words_are_those_of_one() -> None:
    text = "违反本规则的，由主管机关责令改正，可以处一万元以下罚款；属于工作人员的，还应当依法给予处分。"
    assert [each.kind for each in read_provisions(text)] == ["penalty", "penalty"]


def test_the_items_of_a_forbidden_list_belong_to_the_line_that_opens_it() -> None:
    text = "仓库管理人不得有下列行为：\n（一）未经同意拆封；\n（二）应当登记而不登记。"
    (ban,) = read_provisions(text)
    assert (ban.kind, ban.clause.of(text)) == ("prohibition", text)


def test_deadlines_and_thresholds_stand_beside_the_duty() -> None:
    text = "The keeper shall report a loss within five days and may charge up to 200 euros."
    kinds = {each.kind: each.cue.of(text) for each in read_provisions(text)}
    assert (kinds["deadline"], kinds["threshold"]) == ("five days", "200 euros")


def decided(text: str) -> list[Provision]:
    return [each for each in read_provisions(text) if each.decided_by == "model"]


def test_the_model_decides_where_words_do_not_and_says_so() -> None:
    (ours,) = decided("We will notify the customer of every change.")
    assert ours.kind == "obligation"
    assert 0.5 <= ours.score <= 1
    (theirs,) = decided("检验合格的，由检验机构颁发合格证书。")
    assert theirs.subject is not None
    assert decided("保管期限由当事人约定。") == []
