"""What speaks against a sentence: signs, amounts, "only", conditions, words; and what only looks as if it did."""

from __future__ import annotations

import pytest

from deepseek.citations import Corpus, cite
from deepseek.citations.support.opposites import find_conflict
from deepseek.citations.support.statement import read_parts

SEVEN_GROUNDS = "A firm may process data only in one of these cases:\n" + "\n".join(
    f"({number}) {ground};"
    for number, ground in enumerate(
        (
            "the person has given consent", "a contract needs it", "a statute orders it", "an emergency calls for it",
            "the press reports on it", "the person has published it", "a court asks for it",
        ), 1,
    )
)  # fmt: skip


@pytest.mark.parametrize(
    ("sentence", "clause", "kind"),
    [
        ("The bank may lend to directors.", "The bank must not lend to directors.", "sign"),
        ("The bank must not lend to directors.", "The bank may lend to directors.", "sign"),
        ("The seller need not deliver a receipt.", "The seller shall deliver a receipt.", "sign"),
        ("Nobody may enter the vault.", "A guard may enter the vault.", "sign"),
        ("The court may refuse a copy of the file.", "The court must not refuse a copy of the file.", "sign"),
        ("The fine is twice the price.", "The fine is three times the price.", "amount"),
        ("The claim ends after sixty-five days.", "The claim ends after thirty days.", "amount"),
        ("A lease may last 30 years.", "A lease must not exceed twenty years; it may last less.", "amount"),
        ("Logs are kept for at most six months.", "Logs are kept for at least six months.", "amount"),
        ("Data may be processed only if the person has given consent.", SEVEN_GROUNDS, "only"),
        ("Photos may be used for any purpose.", "Photos may be used only for the purpose of safety.", "only"),
        ("The tenant may sublet without consent of the owner.", "The tenant may sublet with consent of the owner.",
         "condition"),
        ("An oral will is valid.", "An oral will is void.", "word"),
        ("The lessee repairs the roof.", "The lessor repairs the roof.", "word"),
        ("银行可以向关系人发放信用贷款。", "银行不得向关系人发放信用贷款。", "sign"),
        ("赔偿金额为价款的二倍。", "赔偿金额为价款的三倍。", "amount"),
    ],
)  # fmt: skip
def test_an_opposite_is_seen_with_its_words(sentence: str, clause: str, kind: str) -> None:
    conflict = find_conflict(sentence, clause)
    assert conflict is not None
    assert conflict.kind == kind
    assert find_conflict(clause.split("\n", maxsplit=1)[0], clause) is None


@pytest.mark.parametrize(
    ("sentence", "clause"),
    [
        ("A lease lasts at most twenty years.", "A lease must not exceed twenty years."),
        ("A lease may last ten years.", "A lease must not exceed twenty years."),
        ("A portrait may be published only with consent.", "Nobody may publish a portrait without consent."),
        ("Publishing a portrait requires consent.", "Nobody may publish a portrait without consent."),
        ("The bank is not allowed to lend to directors.", "The bank must not lend to directors."),
        ("The sale leaves the lease valid.", "The validity of the lease is not affected by the sale."),
        ("The bank must not sell data.", "The bank must not lend to directors. It may keep data."),
        (
            "The firm must not solicit the staff of the other party.",
            "The firm shall protect the data of the other party.",
        ),
        ("(b) lend to directors;", "The bank must not:\n(a) gamble;\n(b) lend to directors."),
        ("A statute orders it: the firm may process data.", SEVEN_GROUNDS),
        ("本办法自2024年1月1日起施行。", "本办法自2021年11月1日起施行。"),
        ("未经批准，不得向境外提供数据。", "向境外提供数据，应当经过批准。"),
    ],
)
def test_what_says_the_same_or_something_else_is_no_opposite(sentence: str, clause: str) -> None:
    assert find_conflict(sentence, clause) is None


def test_only_with_consent_is_not_supported_by_seven_grounds() -> None:
    corpus = Corpus.of({"Act": f"Article 1 {SEVEN_GROUNDS}"})
    text = (
        "A firm may process data only if the person has given consent. A firm may process data if a statute orders it."
    )
    only, one = cite(text, corpus).sentences
    assert (only.status, only.nearest is not None and only.nearest.article) == ("contradicted", "Article 1")
    assert one.status != "contradicted"


def test_an_enumeration_stays_with_its_verb_and_a_condition_apart() -> None:
    parts = read_parts("Where the term ends, the tenant must not keep the key, the lamp or the stove.")
    assert [(part.mode, part.role) for part in parts] == [("is", "condition"), ("forbid", "main")]
    assert parts[1].cue == "must not"
    assert "stov" in parts[1].terms
