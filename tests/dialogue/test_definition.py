"""A dialogue file that is wrong says where, and what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepseek.dialogue.definition import read_dialogue
from deepseek.dialogue.phrases import PHRASES
from deepseek.errors import InputError
from support.assistant.model import DIALOGUE, EXAMPLES

FLOW = '[[flows]]\nname="f"\nintents=["refund"]\n'


def test_the_phrases_of_both_languages_are_the_same() -> None:
    assert PHRASES["en"].keys() == PHRASES["zh"].keys()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FLOW + '[[flows.steps]]\nask="ordr"\n', "slot 'ordr', which is not there. Did you mean 'order'?"),
        (FLOW + '[[flows.steps]]\nsay={en="{ordr}"}\n', "slot 'ordr'"),
        (FLOW + "[[flows.steps]]\n", "nothing to do"),
        (FLOW + "steps=[]\n", "has no steps"),
        (
            FLOW.replace("refund", "refnd") + '[[flows.steps]]\nhand_over="x"\n',
            "no intent 'refnd'. Did you mean 'refund'?",
        ),
        (FLOW * 2 + '[[flows.steps]]\nhand_over="x"\n', "has no steps|is missing"),
        ('[phrases.en]\nhelo="x"\n', "no phrase en.helo"),
        ('[hand_over]\nnot_covered="never"\n', "not_covered is 'never'"),
        ('[slots.x]\nkind="colour"\nask={en="?"}\n', "kind is 'colour'"),
        ('[slots.x]\nkind="choice"\nask={en="?"}\n', "no choices"),
        ('[slots.x]\nkind="order_number"\nask={en="?"}\npattern="("\n', "no regular expression"),
        ('[slots.x]\nkind="date"\nask={fr="?"}\n', "language 'fr'"),
        ("[slots", "cannot be read"),
    ],
)
def test_a_file_that_is_wrong_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "dialogue.toml"
    order = '[slots.order]\nkind="order_number"\nask={en="?"}\n'
    path.write_text(order + text if "[slots" not in text else text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_dialogue(path, tuple(EXAMPLES))


def test_the_file_of_the_tests_is_right(tmp_path: Path) -> None:
    path = tmp_path / "dialogue.toml"
    path.write_text(DIALOGUE, encoding="utf-8")
    assert [flow.name for flow in read_dialogue(path, tuple(EXAMPLES)).flows] == ["refund_order", "block_card"]
