"""The versions of laws that were in force on a day: a corpus with one version of each law.

>>> laws = {"Rules": "Article 1 Be kind.\\nArticle 2 These rules take effect on 2020-03-01."}
>>> find_in_force(Corpus.of(laws, "2020-01-10"), "2020-03-01").versions[0].since
'2020-03-01'

A version is in force from the day that its own text names (自2024年7月1日起施行, takes effect on 1 July 2024),
where
that is later than its date; else from its date.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from deepseek.citations.corpus.clause import UNDATED, Clause
from deepseek.citations.corpus.corpus import Corpus
from deepseek.errors import InputError

MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_CHINESE = re.compile(r"自(\d{4})年(\d{1,2})月(\d{1,2})日起(?:施行|实施|生效)")
_ENGLISH = re.compile(
    r"(?:takes?\s+effect|(?:come|comes|enter|enters|is|are)\s+(?:into\s+|in\s+)?(?:force|effect)|effective)\s+(?:on|from)\s+"
    rf"(?:(\d{{4}})-(\d{{2}})-(\d{{2}})|(\d{{1,2}})\s+({'|'.join(MONTHS)})\s+(\d{{4}}))",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class LawVersion:
    """A version of a law."""

    law: str
    version: str  # its date, or "undated"
    since: str  # the day from which it is in force; "" for an undated one


@dataclass(frozen=True, slots=True)
class InForce:
    """What was in force on a day."""

    day: str
    corpus: Corpus
    versions: tuple[LawVersion, ...]  # one of each law of the corpus
    not_yet: tuple[LawVersion, ...]  # the first versions of laws that were not in force yet

    def since(self, clause: Clause) -> str:
        """From which day a clause's version is in force; "" where that is not known."""
        return next(each.since for each in self.versions if (each.law, each.version) == (clause.law, clause.version))


def find_in_force(corpus: Corpus, day: str) -> InForce:
    """The versions in force on a day, as YYYY-MM-DD. InputError for another day, and where nothing was in force."""
    read_day(day)
    by_law: dict[str, dict[str, list[Clause]]] = {}
    for clause in corpus:
        by_law.setdefault(clause.law, {}).setdefault(clause.version, []).append(clause)
    chosen: list[LawVersion] = []
    not_yet: list[LawVersion] = []
    for law, versions in by_law.items():
        dated = sorted((LawVersion(law, name, _since(name, clauses)) for name, clauses in versions.items()),
                       key=lambda each: each.since)  # fmt: skip
        in_force = [each for each in dated if each.since <= day]
        if in_force:
            chosen.append(in_force[-1])
        else:
            not_yet.append(dated[0])
    if not chosen:
        raise InputError(
            f"no law of the corpus was in force on {day}; the first, {not_yet[0].law}, is since {not_yet[0].since}",
            expected="the version of that day", fix="add it to the corpus, with its date in the file's name",
        )  # fmt: skip
    keep = {(each.law, each.version) for each in chosen}
    clauses = [clause for clause in corpus if (clause.law, clause.version) in keep]
    return InForce(day, Corpus(clauses, corpus.skipped), tuple(chosen), tuple(not_yet))


def read_day(text: str) -> date:
    """A day written as YYYY-MM-DD. InputError for another."""
    try:
        return date.fromisoformat(text)
    except (TypeError, ValueError):
        raise InputError(f"the day is {text!r}", expected="a day as 2024-03-05", fix="write it so") from None


def _since(version: str, clauses: Iterable[Clause]) -> str:
    if version == UNDATED:
        version = ""
    days = [version]
    for clause in clauses:
        days += [f"{int(year):04}-{int(month):02}-{int(day):02}" for year, month, day in _CHINESE.findall(clause.text)]
        for match in _ENGLISH.finditer(clause.text):
            year, month, day = match[1], match[2], match[3]
            if year is None:
                year, month, day = match[6], str(MONTHS.index(match[5].casefold()) + 1), match[4]
            days.append(f"{int(year):04}-{int(month):02}-{int(day):02}")
    return max(days)
