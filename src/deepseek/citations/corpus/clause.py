"""One clause that may be cited, with an id that stays."""

from __future__ import annotations

from dataclasses import dataclass

from deepseek.errors import InputError

UNDATED = "undated"


@dataclass(frozen=True, slots=True)
class Clause:
    """One paragraph of one article, word for word."""

    law: str
    article: str  # as it is written: 第二百六十四条, Article 12
    paragraph: int  # from 1
    version: str  # date as 2023-12-29, or UNDATED
    text: str
    section: str = ""  # the heading above it
    source: str = ""  # file and line

    @property
    def id(self) -> str:
        """The id that stands in every citation.

        >>> Clause("刑法", "第一条", 1, "2023-12-29", "...").id
        '刑法/第一条/1@2023-12-29'
        """
        return f"{self.law}/{self.article}/{self.paragraph}@{self.version}"

    @property
    def key(self) -> tuple[str, str, str]:
        """The article of the clause: law, article, version."""
        return self.law, self.article, self.version


def duplicate_error(first: Clause, second: Clause) -> InputError:
    """The error for one article that is there twice."""
    return InputError(
        f"{second.article} of {second.law!r} ({second.version}) is there twice: {first.source} and {second.source}",
        expected="each number of an article once in a version of a law",
        fix="keep one; two versions of a law need two dates, in the names of the files or above the first article",
    )
