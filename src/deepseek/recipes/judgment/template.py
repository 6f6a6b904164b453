"""Templates of drafts: plain text with slots for facts and for law.

# Judgment
{{parties.plaintiff}} lent {{parties.defendant}} {{amounts.principal}}.
{{law: Small Loans Act | Article 4}}                 the clause, word for word, with its article
{{if interest}}Interest of {{interest}} was agreed.{{end}}
{{write: how the parties came to dispute}}           for a generator; without one it is marked as open
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deepseek.citations.corpus.clause import Clause
from deepseek.citations.corpus.law_text import decode_text
from deepseek.citations.support.in_force import InForce
from deepseek.errors import InputError
from deepseek.files import read_bounded
from deepseek.recipes.judgment.facts import Facts

MAX_BYTES = 2**20
_SLOT = re.compile(r"\{\{\s*(?!law\b|if\b|end\b|write\b)([^{}|]+?)\s*\}\}")
_LAW = re.compile(r"\{\{\s*law\s*:\s*([^{}|]+?)\s*\|\s*([^{}|]+?)\s*(?:\|\s*(\d+)\s*)?\}\}")
_IF = re.compile(r"\{\{\s*if\s+([^{}|]+?)\s*\}\}(.*?)\{\{\s*end\s*\}\}", re.DOTALL)
_WRITE = re.compile(r"\{\{\s*write\s*:\s*([^{}]+?)\s*\}\}")
#: What asks a generator to write: an instruction and the draft so far -> text.
Writer = Callable[[str, str], str]


@dataclass(frozen=True, slots=True)
class Template:
    """A template as it was read."""

    name: str
    text: str
    sha256: str


def read_template(path: Path) -> Template:
    """The template in a text file. MissingError without it, MalformedError for one that is no text, InputError for an
    empty one or for braces that do not close."""
    data = read_bounded(path, MAX_BYTES, what="a template", smaller="split it")
    return template_of(decode_text(data, path.name), path.name)


def template_of(text: str, name: str) -> Template:
    """A template in memory."""
    if not text.strip():
        raise InputError(f"{name} is empty", expected="text with slots such as {{parties.plaintiff}}", fix="write it")
    rest = text
    for pattern in (_LAW, _WRITE, _IF, _SLOT):
        rest = pattern.sub(lambda match: match[2] if match.re is _IF else "", rest)
    if "{{" in rest or "}}" in rest:
        start = rest.find("{{") if "{{" in rest else rest.find("}}")
        raise InputError(
            f"{name} has a slot that is none: {' '.join(rest[start : start + 60].split())!r}",
            expected="{{path}}, {{law: LAW | ARTICLE}}, {{if path}}...{{end}}, {{write: ...}}", fix="correct it",
        )  # fmt: skip
    return Template(name, text, hashlib.sha256(text.encode()).hexdigest())


def fill_template(template: Template, facts: Facts, law: InForce, write: Writer | None = None) -> str:
    """The draft. InputError that names every slot without a fact, and every clause that was not in force on the day."""
    text = _IF.sub(lambda match: match[2] if facts.values.get(match[1], "") else "", template.text)
    _check_slots(template, text, facts)
    _check_laws(template, text, law)
    is_chinese = any("一" <= letter <= "鿿" for letter in text)
    text = _LAW.sub(lambda match: _quote_law(_find_clauses(law, match), match[3], is_chinese), text)
    text = _SLOT.sub(lambda match: facts.values[match[1]], text)
    while match := _WRITE.search(text):
        words = _open_words(match[1], is_chinese) if write is None else write(match[1], text[: match.start()])
        text = text[: match.start()] + words.replace("{{", "").replace("}}", "") + text[match.end() :]
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _open_words(instruction: str, is_chinese: bool) -> str:
    return f"【待撰写：{instruction}】" if is_chinese else f"[to be written: {instruction}]"


def _check_slots(template: Template, text: str, facts: Facts) -> None:
    missing = [path for path in dict.fromkeys(_SLOT.findall(text)) if path not in facts.values]
    if missing:
        raise InputError(
            f"the facts lack what {template.name} needs: {', '.join(missing)}",
            expected=f"these beside {', '.join(sorted(facts.values)[:12])}", fix="add them to the facts",
        )  # fmt: skip


def _check_laws(template: Template, text: str, law: InForce) -> None:
    problems = []
    for match in _LAW.finditer(text):
        if not _find_clauses(law, match):
            later = next((each for each in law.not_yet if match[1] in each.law or each.law in match[1]), None)
            why = f" (in force since {later.since})" if later is not None else ""
            problems.append(f"{match[1]} {match[2]}{f' paragraph {match[3]}' if match[3] else ''}{why}")
    if problems:
        raise InputError(
            f"{template.name} cites what was not in the corpus on {law.day}: {'; '.join(dict.fromkeys(problems))}",
            expected="articles of the corpus, in force on that day",
            fix="add the law to the corpus, or correct the template",
        )  # fmt: skip


def _find_clauses(law: InForce, match: re.Match[str]) -> list[Clause]:
    clauses = law.corpus.find(match[1], match[2])
    laws = {clause.law for clause in clauses}
    if len(laws) > 1:
        exact = [clause for clause in clauses if clause.law == match[1]]
        if not exact:
            raise InputError(
                f"{match[1]!r} may be {' or '.join(sorted(laws)[:4])}", expected="the name of one law",
                fix="write its whole name in the template",
            )  # fmt: skip
        clauses = tuple(exact)
    return [clause for clause in clauses if not match[3] or clause.paragraph == int(match[3])]


def _quote_law(clauses: list[Clause], paragraph: str | None, is_chinese: bool) -> str:
    """A sentence that says where it stands and what, word for word."""
    first = clauses[0]
    words = "\n".join(clause.text for clause in clauses)
    if is_chinese:
        from deepseek.citations.corpus.numerals import to_chinese

        where = f"《{first.law}》{first.article}{f'第{to_chinese(int(paragraph))}款' if paragraph else ''}"
        return f"{where}规定：“{words}”"
    return f"{first.article} of the {first.law.removeprefix('The ').removeprefix('the ')} says: “{words}”"
