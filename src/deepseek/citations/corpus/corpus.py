"""The clauses that may be cited, each with an id that stays: law, article, paragraph, version.

corpus = Corpus.read("laws/")                     # plain text, Markdown or Parquet: law_text.py
clause = corpus["中华人民共和国刑法/第二百六十四条/1@2023-12-29"]
corpus.find("刑法", "第二百六十四条")              # its clauses, by the short name of the law; () when there is none

A paragraph (款) is a clause; the items (项) of a list belong to the paragraph that opens it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from deepseek.citations.corpus.clause import UNDATED, Clause, duplicate_error
from deepseek.errors import InputError

PREFIX = "中华人民共和国"


class Corpus:
    """Clauses in their order. InputError, which names both places, for an article that is there twice."""

    def __init__(self, clauses: Iterable[Clause], skipped: Iterable[str] = ()) -> None:
        self.clauses = tuple(clauses)
        self.skipped = tuple(skipped)  # files without an article, by name
        if not self.clauses:
            raise InputError(
                "the corpus has no clause",
                expected="text with lines such as 第一条 ... or Article 1 ...",
                fix="give the folder of the laws; a number of an article stands at the beginning of its line",
            )
        self._by_id: dict[str, Clause] = {}
        self.articles: dict[tuple[str, str, str], list[int]] = {}
        for index, clause in enumerate(self.clauses):
            if clause.id in self._by_id:
                raise duplicate_error(self._by_id[clause.id], clause)
            self._by_id[clause.id] = clause
            self.articles.setdefault(clause.key, []).append(index)
        self._by_article: dict[str, list[tuple[str, str, str]]] = {}
        for key in self.articles:
            self._by_article.setdefault(normalize_article(key[1]), []).append(key)

    @classmethod
    def read(cls, path: str | Path) -> Corpus:
        """All laws in a folder, or in one file. See law_text.py for what is read and the errors."""
        from deepseek.citations.corpus.law_text import read_laws

        return cls(*read_laws(Path(path)))

    @classmethod
    def of(cls, laws: Mapping[str, str], version: str = UNDATED) -> Corpus:
        """A corpus from texts in memory: name of the law -> its text.

        >>> [clause.id for clause in Corpus.of({"Rules": "Article 1 Be kind.\\nArticle 2 Be brief."}).clauses]
        ['Rules/Article 1/1@undated', 'Rules/Article 2/1@undated']
        """
        from deepseek.citations.corpus.law_text import parse_clauses

        return cls(clause for law, text in laws.items() for clause in parse_clauses(text, law, version, source=law))

    @property
    def digest(self) -> str:
        """sha256 of ids and texts."""
        sha256 = hashlib.sha256()
        for clause in self.clauses:
            sha256.update(f"{clause.id}\0{clause.text}\0".encode("utf-8", "surrogatepass"))
        return sha256.hexdigest()

    def find(self, law: str, article: str) -> tuple[Clause, ...]:
        """The clauses of an article of every law whose name has `law` in it, whatever the version."""
        wanted = short_law_name(law)
        return tuple(
            self.clauses[index]
            for key in self._by_article.get(normalize_article(article), ())
            if wanted in short_law_name(key[0])
            for index in self.articles[key]
        )

    def __getitem__(self, name: str) -> Clause:
        """The clause of an id; KeyError when there is none."""
        return self._by_id[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_id

    def __iter__(self) -> Iterator[Clause]:
        return iter(self.clauses)

    def __len__(self) -> int:
        return len(self.clauses)


def short_law_name(law: str) -> str:
    """A law's name as it is mostly written.

    >>> short_law_name("《中华人民共和国民法典》"), short_law_name("The Data Act")
    ('民法典', 'dataact')
    """
    bare = law.strip('《》〈〉"“” ').removeprefix(PREFIX).casefold().removeprefix("the ")
    return "".join(bare.split())


def normalize_article(article: str) -> str:
    """The number of an article without spaces and in lower case, so that spellings compare equal."""
    return "".join(article.split()).casefold()
