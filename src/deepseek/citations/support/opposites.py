"""Whether a clause says the opposite of a sentence, and by which words: a must for a may, another amount, a "without".

>>> law = "A bank must not grant unsecured loans to related parties."
>>> find_conflict("A bank may grant unsecured loans to related parties.", law)
Conflict(kind='sign', said='may', law='must not')
>>> find_conflict("A bank must not grant unsecured loans to related parties.", law)

The clause has to speak of what the sentence speaks of (`coverage`); of the clause the statement counts that has most of
the sentence's words. Then each detector looks for one kind of opposite. What none sees is not called contradicted:
other words for the same thing, and conclusions over several clauses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from deepseek.citations.corpus.amounts import read_amounts
from deepseek.citations.support.amount_match import blank_dates, excludes, fits, same_unit
from deepseek.citations.support.antonyms import OPPOSITES, find_opposite_words, names_antonym
from deepseek.citations.support.signal_words import NEGATIVE_MODES, Mode
from deepseek.citations.support.statement import (
    Part,
    read_mode,
    read_parts,
    topic_terms,
    topic_words,
)

Kind = Literal["sign", "amount", "only", "condition", "word"]
Weight = Callable[[str], float]

#: The share of what a sentence is about that a clause must have to be its opposite.
MIN_COVERED = 0.6
#: A part of a sentence has its counterpart in the part of a clause that has this share of it.
MIN_COUNTERPART = 0.5
#: The same where one of both has no signal word (must, may, not ...).
MIN_UNMARKED = 0.7
#: The share of what stands behind the signal word.
MIN_PREDICATE = 0.5
#: One of the same sign that has this share of what the best one has is taken instead.
NEAR_COUNTERPART = 0.6
#: A sentence repeats a statement when this share of it stands there in the same order; a change is at most so long.
MIN_VERBATIM, MAX_EDITED, MAX_COMPARED_TOKENS = 0.85, 6, 400
#: A part with less than this share of what the sentence is about decides nothing.
MIN_PART_WEIGHT = 0.15
#: The share of a sentence besides who is named that a clause must have to name another one.
MIN_HELD = 0.6
#: The share of a sentence besides an opposite word that a clause must have where no part of it can be compared.
MIN_ALIKE = 0.75

_ONLY = re.compile(r"\b(?:only|solely|exclusively|nothing but)\b|只有|只能|仅|唯一|才", re.IGNORECASE)
_BOTH = re.compile(r"\bboth\b|\bjointly\b|双方|均|共同", re.IGNORECASE)
_BROAD = re.compile(
    r"\b(?:any|all|every|anybody|anyone|everybody|everyone|always|at any time|freely|unlimited|as often as|whatever)\b"
    r"|任何|所有|一律|随时|自由|不受限制|任意",
    re.IGNORECASE,
)
#: A sentence that asks for something says no more than a clause that forbids what is done without it.
_RESTRICTS = re.compile(
    r"\b(?:only|requires?|required|needs?|needed|subject to|provided|if|with the|upon|unless|after)\b"
    r"|(?:经|取得|征得|获得)[^，。]{0,14}(?:同意|批准|许可|授权)|方可|才|只有|除非|应当",
    re.IGNORECASE,
)
_ITEM = re.compile(
    r"\s*(?:[（(]\s?[一二三四五六七八九十百\da-zA-Z]{1,4}\s?[)）]|\d{1,2}[.、)]\s|[一二三四五六七八九十]{1,3}、|[-*•])"
)
#: Who bears, owns or does something: by these words the law names one, and no other.
_HOLDERS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\bbelongs? to (?P<who>(?:\w+ ?){1,5})",
        r"(?:^|[,;.] ?)(?P<who>(?:[\w-]+ ){1,8}?)(?:(?:shall|must|has to|have to) )?(?:bears?|pays?) (?!no\b)",
        r"(?:由|归|属于)(?P<who>[^，。；、]{1,10}?)(?:承担|负责|支付|清偿|所有|$|[，。；])",
        r"(?:^|[，。；])(?P<who>[^，。；]{2,12}?)(?:应当)?(?:承担|向[^，。；]{2,10}支付)",
    )
)
#: By whom something is done.
_AGENT = re.compile(
    r"\b(?:is|are|be) (?:\w+ and )?(?P<verb>\w+(?:ed|ne|id|wn|en)) by (?P<who>(?:\w+ ?){1,4})", re.IGNORECASE
)
#: To whom something is paid, told or given.
_RECEIVERS = (
    re.compile(r"\b(?:pay|pays|notify|notifies|inform|informs) (?P<who>(?:the|a|an|each) \w+)(?= )", re.IGNORECASE),
    re.compile(r"向(?P<who>[^，。；、]{2,10}?)(?:或者|支付|通知|交付|返还|给付|告知)"),
)
_GOES_ON = re.compile(r"\s*(?:it|they|this|these|such)\b", re.IGNORECASE)
_AFFECT = re.compile(r"affect|影响", re.IGNORECASE)
_UNAFFECTED = re.compile(r"\b(?:is|are|be|shall|does) not (?:be )?affect(?:ed)?\b|不受?影响", re.IGNORECASE)
_TOKEN = re.compile(r"[一-鿿]|[^\W_一-鿿]+")
_COMPATIBLE: frozenset[frozenset[Mode]] = frozenset((frozenset(("may", "free")),))
_OPEN_EXCEPTION = re.compile(r"\b(?:law|laws|otherwise|agreed?)\b|另有", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Conflict:
    """The words of the sentence, and those of the clause that speak against them."""

    kind: Kind
    said: str
    law: str


def find_conflict(sentence: str, clause: str, weight: Weight | None = None) -> Conflict | None:
    """What a clause that speaks of the same thing as a sentence says against it; None where nothing is seen."""
    return Comparison(sentence, weight or (lambda _: 1.0)).conflict(clause)


class Comparison:
    """A sentence that is laid beside clauses. `weight`: how much a term says, above 0."""

    def __init__(self, sentence: str, weight: Weight) -> None:
        self.sentence = sentence
        # An item of a list may stand under "must not": what it says by itself is not known.
        self.parts = [part for part in read_parts(sentence) if part.cue or not _ITEM.match(sentence)]
        self._weights = {term: weight(word) for term, word in topic_words(sentence).items()}
        self._total = sum(self._weights.values())

    def coverage(self, text: str) -> float:
        """The share of what the sentence is about that a text has, 0..1."""
        return self._size(topic_terms(text)) / self._total if self._total else 0.0

    def conflict(self, clause: str) -> Conflict | None:
        """What the clause says against the sentence, if it speaks of the same thing."""
        if not self._speaks_of(clause):
            return None
        if not _AFFECT.search(self.sentence):
            clause = _UNAFFECTED.sub(" ", clause)
        statements = list(split_statements(clause))
        best = max(statements, key=lambda text: (round(self.coverage(text), 6), -len(text)))
        law = read_parts(best)
        return (
            self._other_amount(best, clause)
            or self._only_one(clause)
            or self._find_edit(best)
            or self._other_holder(best)
            or self._broader(statements)
            or self._without(law)
            or self._other_sign(law, best)
        )

    def _speaks_of(self, clause: str) -> bool:
        """Whether the clause has most of the sentence, words whose opposite it has left aside."""
        opposite = _opposite_terms(self.sentence, clause)
        total = self._total - self._size(opposite)
        return total > 0 and self._size(topic_terms(clause) - opposite) >= MIN_COVERED * total

    def _size(self, terms: frozenset[str]) -> float:
        return sum(weight for term, weight in self._weights.items() if term in terms)

    def _other_amount(self, best: str, clause: str) -> Conflict | None:
        amounts, everywhere = read_amounts(blank_dates(best)), read_amounts(blank_dates(clause))
        for amount in read_amounts(blank_dates(self.sentence)):
            like = [other for other in amounts if same_unit(amount, other)]
            if not like or any(same_unit(amount, other) and fits(amount, other) for other in everywhere):
                continue
            if all(excludes(other, amount) for other in like):
                return Conflict("amount", amount.words(self.sentence), like[0].words(best))
        return None

    def _only_one(self, clause: str) -> Conflict | None:
        """ "Only" for one of several cases that the clause lists."""
        only = _ONLY.search(self.sentence)
        opening, *items = clause.split("\n")
        both = _BOTH.search(clause)
        if only and both and not _BOTH.search(self.sentence):
            return Conflict("only", only[0], both[0])
        if not only or len(items) < 2:
            return None
        own = topic_terms(self.sentence) - topic_terms(opening)
        named = [item for item in items if own and self._size(topic_terms(item) & own) >= 0.5 * self._size(own)]
        if 0 < len(named) < len(items):
            return Conflict("only", only[0], next(item for item in items if item not in named).strip())
        return None

    def _find_edit(self, best: str) -> Conflict | None:
        """The clause word for word, but for a no."""
        if not self.parts:
            return None
        said, law = _TOKEN.findall(self.sentence), _TOKEN.findall(best)
        if max(len(said), len(law)) > MAX_COMPARED_TOKENS:
            return None
        matcher = SequenceMatcher(None, [w.casefold() for w in said], [w.casefold() for w in law], autojunk=False)
        if sum(block.size for block in matcher.get_matching_blocks()) < MIN_VERBATIM * len(said):
            return None
        changes = []
        for tag, start, end, law_start, law_end in matcher.get_opcodes():
            goes_on = start == end == len(said)
            if tag != "equal" and not goes_on and max(end - start, law_end - law_start) <= MAX_EDITED:
                # The words beside it belong to it: 不 before 得, "not" behind "shall".
                here, there = _join(said[start:end]), _join(law[law_start:law_end])
                own, its = read_mode(here), read_mode(there)
                if (own in NEGATIVE_MODES) != (its in NEGATIVE_MODES):
                    if not (here and there):  # "may" against "may not": the word before tells which
                        here = _join(said[max(0, start - 1) : end])
                        there = _join(law[max(0, law_start - 1) : law_end])
                    changes.append((here, there))
        return Conflict("sign", *changes[0]) if len(changes) == 1 else None

    def _other_holder(self, best: str) -> Conflict | None:
        """Another one owns, bears, pays or does it than the clause says."""
        agents = {match["verb"].casefold(): match["who"] for match in _AGENT.finditer(best)}
        agent = _AGENT.search(self.sentence)
        pairs = [
            (_first_match(_HOLDERS, self.sentence), _first_match(_HOLDERS, best), False),
            (_first_match(_RECEIVERS, self.sentence), _first_match(_RECEIVERS, best), True),
        ]
        if agent and agent["verb"].casefold() in agents:
            pairs.append((agent["who"], agents[agent["verb"].casefold()], True))
        for said, law, elsewhere in pairs:
            own, its = topic_terms(said), topic_terms(law)
            if not own or not its or own & its or (not elsewhere and own & topic_terms(best.replace(law, " "))):
                continue
            rest = self._total - self._size(own)
            held = self._size(topic_terms(best) - own)
            if rest > 0 and held >= MIN_HELD * rest and not self._signs_negative():
                return Conflict("word", said.strip(), law.strip())
        return None

    def _signs_negative(self) -> bool:
        return any(part.negative for part in self.parts)

    def _broader(self, statements: Sequence[str]) -> Conflict | None:
        """ "Any" where the clause says "only"."""
        broad = _BROAD.search(self.sentence)
        if not broad or any(part.negative for part in self.parts) or _ONLY.search(self.sentence):
            return None
        for statement in statements:
            only = _ONLY.search(statement)
            speaks = self.coverage(statement) >= MIN_COVERED or _GOES_ON.match(statement)
            if only and speaks and broad[0].casefold() not in statement.casefold():
                return Conflict("only", broad[0], only[0])
        return None

    def _without(self, law: Sequence[Part]) -> Conflict | None:
        """Something is done without what the clause asks for."""
        mains = [part for part in self.parts if part.role == "main"]
        if any(part.negative for part in mains):
            return None
        every = frozenset[str]().union(*(part.terms for part in law))
        if not all(part.heads <= every for part in mains):
            return None
        for part in self.parts:
            if part.role != "without" or not part.terms:
                continue
            same_matter = [each for each in law if self._size(each.terms & part.terms) >= 0.5 * self._size(part.terms)]
            denied = any(each.negative for each in law if each.role == "main")
            lacking = any(
                each.role == "without" or (each.role == "condition" and each.negative) for each in same_matter
            )
            if same_matter and (denied or not lacking):
                return Conflict("condition", part.text, same_matter[0].text)
        return None

    def _other_sign(self, law: Sequence[Part], best: str) -> Conflict | None:
        for part in self.parts:
            if part.role != "main":
                continue
            for counterpart in self._counterparts(part, law)[:1]:
                word = _opposite_words(part.text, counterpart.text) or _other_party(part, counterpart)
                if word is not None and word[0] in best.casefold():
                    word = None  # the clause says it, too
                differs = self._signs_differ(part, counterpart, law)
                if word is not None and differs and (_within(part.cue, word[0]) or _within(counterpart.cue, word[1])):
                    return Conflict("word", *word)  # 无效 has its no in itself
                if differs and word is None:
                    return Conflict("sign", part.cue or part.text, counterpart.cue or counterpart.text)
                if word is not None and part.negative == counterpart.negative:
                    return Conflict("word", *word)
        word = None if self._signs_negative() else _opposite_words(self.sentence, best)
        denied = word is not None and any(
            part.negative and not _within(part.cue, word[1]) for part in law if part.role == "main"
        )
        if word is not None and not denied and self.parts:
            rest = topic_terms(self.sentence) - terms_of_word(self.sentence, word[0])
            if self._size(rest & topic_terms(best)) >= MIN_ALIKE * self._size(rest):
                return Conflict("word", *word)
        return None

    def _counterparts(self, part: Part, law: Sequence[Part]) -> list[Part]:
        """The parts of the clause that say something about what a part of the sentence says something about, the one
        that has most of it first; one of the same sign before others."""
        if not self._size(part.terms) or self._size(part.terms) < MIN_PART_WEIGHT * self._total:
            return []
        shares = []
        conditions = frozenset[str]().union(*(each.terms for each in law if each.role == "condition"))
        for each in law:
            if each.role != "main":
                continue
            terms = part.terms - _opposite_terms(part.text, each.text)
            share = self._size(terms & (each.terms | conditions)) / self._size(terms) if self._size(terms) else 0.0
            least = MIN_COUNTERPART if each.cue and part.cue else MIN_UNMARKED
            if share >= least and self._shares_predicate(part, each, terms):
                shares.append((share, each))
        most = max((share for share, _ in shares), default=0.0)
        near = [entry for entry in shares if entry[0] >= NEAR_COUNTERPART * most]
        near.sort(key=lambda entry: (entry[1].negative != part.negative, -entry[0], len(entry[1].terms)))
        return [each for _, each in near]

    def _shares_predicate(self, part: Part, other: Part, terms: frozenset[str]) -> bool:
        """Whether both say something of the same action: half of what stands behind "must not", its first word before
        all."""
        predicate = part.predicate & terms
        if not predicate:
            return True
        heads = part.heads & terms
        return self._size(predicate & other.terms) >= MIN_PREDICATE * self._size(predicate) and bool(
            not heads or heads & other.terms
        )

    def _signs_differ(self, part: Part, counterpart: Part, law: Sequence[Part]) -> bool:
        if part.negative == counterpart.negative or frozenset((part.mode, counterpart.mode)) in _COMPATIBLE:
            return False
        conditional = any(
            each.role == "without" or (each.role == "exception" and not _OPEN_EXCEPTION.search(each.text))
            for each in law
        )
        own_condition = any(each.role in ("without", "exception") for each in self.parts)
        if counterpart.negative:
            return not (conditional and _RESTRICTS.search(self.sentence))
        return not own_condition


def _opposite_terms(text: str, law: str) -> frozenset[str]:
    """The terms of a text that stand where a clause has their opposite."""
    words = (find_opposite_words(text, law), names_antonym(text, law))
    return frozenset[str]().union(*(terms_of_word(text, word[0]) for word in words if word))


def terms_of_word(text: str, word: str) -> frozenset[str]:
    """The terms that a text has by a word alone; of Chinese also those that it shares with its neighbors."""
    rest = re.sub(re.escape(word), " ", text, flags=re.IGNORECASE)
    return topic_terms(text) - topic_terms(rest)


def _within(cue: str, word: str) -> bool:
    return bool(cue) and cue in word


def _opposite_words(text: str, law: str) -> tuple[str, str] | None:
    return find_opposite_words(text, law) or names_antonym(text, law, OPPOSITES)


def _first_match(patterns: Sequence[re.Pattern[str]], text: str) -> str:
    """Who is named by the first pattern that a text has; "" where none is."""
    return next((match["who"] for pattern in patterns if (match := pattern.search(text))), "")


def _other_party(part: Part, counterpart: Part) -> tuple[str, str] | None:
    """The party of which the one speaks, and the opposite one of which the other does, in the same place."""
    word = names_antonym(part.subject, counterpart.subject)
    return word if word and names_antonym(counterpart.subject, part.subject) else None


def split_statements(clause: str) -> Iterator[str]:
    """The sentences of a clause; each item of a list with the line that opens it.

    >>> list(split_statements("One of these:\\n(a) this;\\n(b) that."))
    ['One of these:\\n(a) this;', 'One of these:\\n(b) that.']
    """
    opening, *items = clause.split("\n")
    if items:
        yield from (f"{opening}\n{item}" for item in items)
        return
    yield from (piece for piece in re.split(r"(?<=[。；])|(?<=[a-z)]\.)\s", clause) if piece.strip())


def _join(tokens: Sequence[str]) -> str:
    return ("" if tokens and tokens[0] >= "㐀" else " ").join(tokens)
