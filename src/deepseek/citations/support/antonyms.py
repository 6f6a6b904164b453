"""Words that stand for one another's opposite, or for another person: one of them does not say what another says.

>>> names_antonym("The lessee repairs it.", "The lessor repairs it.")
('lessee', 'lessor')
>>> names_antonym("The lessee repairs it.", "The lessee tells the lessor.")
"""

from __future__ import annotations

import re
from functools import cache

#: Parties to a legal relation: who is meant when another one of the same line is written.
PARTIES = (
    ("出租人", "承租人"), ("债权人", "债务人"), ("出卖人", "买受人"), ("用人单位", "劳动者"), ("经营者", "消费者"),
    ("男方", "女方"), ("父亲", "母亲"), ("投保人", "保险人", "被保险人", "受益人"), ("赠与人", "受赠人"),
    ("lessor", "lessee"), ("landlord", "tenant"), ("buyer", "seller"), ("creditor", "debtor"), ("lender", "borrower"),
    ("employer", "employee", "worker"), ("insurer", "insured"), ("husband", "wife"), ("father", "mother"),
    ("plaintiff", "defendant"), ("donor", "donee"), ("licensor", "licensee"), ("principal", "agent"),
    ("disclosing party", "receiving party"), ("discloser", "recipient"),
)  # fmt: skip
OPPOSITES = (
    ("有效", "无效"), ("有权", "无权"), ("合法", "违法"), ("共同", "个人", "各自"), ("书面", "口头"), ("允许", "禁止"),
    ("有期徒刑", "无期徒刑", "死刑"), ("第一顺序", "第二顺序"), ("故意", "过失"), ("从重", "从轻"), ("动产", "不动产"),
    ("减轻", "加重"), ("增加", "减少"), ("一般保证", "连带责任保证"),
)  # fmt: skip
#: English words by their stems; each line has what says yes, or more, and what says no, or less.
ENGLISH_OPPOSITES = (
    ("valid|validity|effective|binding|enforceable", "void|invalid|ineffective|unenforceable"),
    ("lawful|legal|legitimate", "unlawful|illegal|illegitimate"),
    ("keep|keeps|kept|retain|retains|retained", "lose|loses|lost|forfeit|forfeits|forfeited"),
    ("written|writing", "oral|orally|verbal|verbally"),
    ("free of charge|for free|free", "pay|pays|paid|(?<!free of )charge|charged|fee|fees|fare"),
    ("compulsory|mandatory|obligatory", "voluntary|voluntarily|optional"),
    ("granted|entitled", "denied|deprived"),
    (
        "keep|keeps|kept|preserve|preserved|store|stored",
        "discard|discarded|destroy|destroyed|delete|deleted|erase|erased",
    ),
    ("open|opened|disclosed", "closed|sealed"),
    ("appointed|appoints", "elected|elects"),
    ("with|after|upon", "without"),
    ("include|includes|included|including", "exclude|excludes|excluded|excluding"),
    ("increase|increases|increased|raise|raised", "decrease|decreases|decreased|reduce|reduces|reduced|lower|lowered"),
    ("public|publicly", "confidential|confidentially|secret|private"),
    ("before|prior to", "after|following"),
    ("joint|jointly", "several|severally|separately"),
    ("intentionally|intentional|deliberately", "negligently|negligent|accidentally"),
    ("permanent|permanently|for ever|forever|indefinitely", "temporary|temporarily"),
    ("majority", "minority"),
    ("revocable", "irrevocable"),
    ("exclusive", "non-exclusive|nonexclusive"),
    ("assignable|transferable", "unassignable|non-transferable|nontransferable"),
)
GROUPS = (*OPPOSITES, *PARTIES)


def names_antonym(sentence: str, quoted: str, groups: tuple[tuple[str, ...], ...] = GROUPS) -> tuple[str, str] | None:
    """The word of the sentence, and the opposite that the quote has in its place; None where there is none."""
    said, law = sentence.casefold(), quoted.casefold()
    for words in groups:
        for word in words:
            if word in said and word not in law:
                other = next((other for other in words if other != word and other in law), None)
                if other is not None:
                    return word, other
    return None


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], ...], ...]:
    return tuple(tuple(re.compile(rf"\b(?:{side})\b", re.IGNORECASE) for side in line) for line in ENGLISH_OPPOSITES)


def find_opposite_words(sentence: str, quoted: str) -> tuple[str, str] | None:
    """The English word of one text and its opposite in the other, where each side has one pole alone.

    >>> find_opposite_words("An oral contract is enough.", "A written contract shall be made.")
    ('oral', 'written')
    """
    for poles in _patterns():
        for here, there in (poles, poles[::-1]):
            said, law = here.search(sentence), there.search(quoted)
            if said and law and not there.search(sentence) and not here.search(quoted):
                return said[0].casefold(), law[0].casefold()
    return None
