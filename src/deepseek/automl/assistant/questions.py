"""Tables of questions: an FAQ (question, answer), or questions with their intents, checked and cleaned.

    known = read_questions(intents=read_table("train.csv"), faq=read_table("faq.csv"))
    known.questions, known.intents, known.answers

Columns go by name in English and Chinese; `QuestionColumns` names others. A row whose intent is OUT_OF_SCOPE is a
question that the assistant should hand over.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from deepseek.data.table.table import Table
from deepseek.engines.assistant.terms import normalize_text, question_form, split_words
from deepseek.errors import InputError
from deepseek.plugins import did_you_mean

QUESTION_NAMES = ("question", "text", "utterance", "query", "sentence", "问题", "问句", "文本")
INTENT_NAMES = ("intent", "category", "label", "意图", "类别", "标签")
ANSWER_NAMES = ("answer", "response", "reply", "答案", "回答", "答复")
OUT_OF_SCOPE_NAMES = frozenset({"oos", "out_of_scope", "out-of-scope", "out of scope", "范围外"})
MAX_NAME_LETTERS = 80  # of an intent that is named after its first question
MAX_NOTED = 3  # rows that a message names


@dataclass(frozen=True, slots=True)
class QuestionColumns:
    """Which columns hold what; empty: by the names that are usual."""

    question: str = ""
    intent: str = ""
    answer: str = ""


@dataclass(frozen=True)
class KnownQuestions:
    """What an assistant learns from."""

    questions: tuple[str, ...]
    intents: tuple[str, ...]  # of each question
    out_of_scope: tuple[str, ...] = ()  # questions that belong to no intent
    answers: dict[str, str] = field(default_factory=dict)  # by intent
    warnings: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Each intent once, in alphabetical order."""
        return tuple(sorted(set(self.intents)))


def read_questions(
    *, intents: Table | None = None, faq: Table | None = None, columns: QuestionColumns | None = None
) -> KnownQuestions:
    """Questions with intents, an FAQ, or both: the FAQ then gives the answers of the intents that it names.

    InputError for columns that are not there, for fewer than two intents, and for two equal questions of an FAQ with
    different answers.
    """
    columns = columns or QuestionColumns()
    rows: list[tuple[str, str]] = []
    answers: dict[str, str] = {}
    warnings: list[str] = []
    if faq is not None:
        faq_rows, answers = _read_faq(faq, columns, warnings)
        rows += _without_repeats(faq_rows, warnings)
    if intents is not None:
        rows += _without_repeats(_read_pairs(intents, columns, warnings), warnings)
    all_inside, outside = split_by_scope(rows)
    inside = _without_repeats(all_inside, [])  # what stands in both tables is no mistake
    names = {name for _, name in inside}
    if len(names) < 2:
        because = "".join(f"; {warning}" for warning in warnings)
        raise InputError(
            f"there are {len(names)} intents{because}", expected="questions of at least two intents",
            fix="bring an FAQ with at least two different answers, or questions with two intents",
        )  # fmt: skip
    warnings += _few_examples(Counter(name for _, name in inside))
    return KnownQuestions(
        tuple(question for question, _ in inside), tuple(name for _, name in inside), tuple(outside),
        {name: answer for name, answer in answers.items() if name in names}, tuple(warnings),
    )  # fmt: skip


def read_labelled(table: Table, columns: QuestionColumns | None = None) -> list[tuple[str, str]]:
    """(question, intent) of each row, for figures: nothing is left out. InputError for columns that are not there."""
    columns = columns or QuestionColumns()
    questions = column_texts(table, columns.question, QUESTION_NAMES, "questions")
    names = column_texts(table, columns.intent, INTENT_NAMES, "intents")
    missing = [row for row, name in enumerate(names) if not name]
    if missing:
        raise InputError(
            f"row {missing[0]} has no intent, and {len(missing) - 1} others", expected="an intent in each row",
            fix="name the intent, or oos for a question that belongs to none",
        )  # fmt: skip
    return list(zip(questions, names, strict=True))


def split_by_scope(rows: Iterable[tuple[str, str]]) -> tuple[list[tuple[str, str]], list[str]]:
    """Rows (question, intent) in scope, and the questions that belong to no intent."""
    inside, outside = [], []
    for question, name in rows:
        if name.casefold() in OUT_OF_SCOPE_NAMES:
            outside.append(question)
        else:
            inside.append((question, name))
    return inside, outside


def column_texts(table: Table, wanted: str, usual: Sequence[str], what: str, *, option: str = "") -> list[str]:
    """A column as texts, "" where it is missing: the one that is `wanted`, else the first of the `usual` names.
    InputError where there is none."""
    by_name = {name.strip().casefold(): name for name in table.names}
    name = wanted if wanted in table.columns else next((by_name[each] for each in usual if each in by_name), "")
    if wanted and wanted not in table.columns:
        raise InputError(
            f"there is no column {wanted!r}.{did_you_mean(wanted, table.names)}", expected=", ".join(table.names),
            fix=f"name the column that holds {what}",
        )  # fmt: skip
    if not name:
        raise InputError(
            f"no column holds {what}: there are {', '.join(table.names)}", expected=f"a column {usual[0]}",
            fix=f"rename the column, or name it with --{option or usual[0]}",
        )  # fmt: skip
    return [_text_of(value) for value in table.column(name).tolist()]


def _text_of(value: object) -> str:
    """A cell as text: whole numbers without a point, nothing for what is missing."""
    if value is None or value != value:  # noqa: PLR0124  # NaN alone differs from itself
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _read_faq(
    table: Table, columns: QuestionColumns, warnings: list[str]
) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """Rows (question, intent), and answers by intent. An FAQ without a column of intents has one for each answer, named
    after its first question."""
    questions = column_texts(table, columns.question, QUESTION_NAMES, "questions")
    answers = column_texts(table, columns.answer, ANSWER_NAMES, "answers")
    has_intents = bool(columns.intent) or any(name.strip().casefold() in INTENT_NAMES for name in table.names)
    names = column_texts(table, columns.intent, INTENT_NAMES, "intents") if has_intents else [""] * len(questions)
    _check_conflicts(questions, answers)
    kept = [row for row in zip(questions, answers, names, strict=True) if row[1] and split_words(row[0])]
    if len(kept) < len(questions):
        warnings.append(f"{len(questions) - len(kept)} rows of the FAQ without words or without an answer are left out")
    by_answer: dict[str, str] = {}
    taken: set[str] = set()
    rows: list[tuple[str, str]] = []
    answer_of: dict[str, str] = {}
    for question, answer, name in kept:
        if not name and answer not in by_answer:
            by_answer[answer] = _free_name(question, taken)
            taken.add(by_answer[answer])
        intent = name or by_answer[answer]
        if answer_of.setdefault(intent, answer) != answer:
            raise InputError(
                f"the intent {intent!r} has two answers in the FAQ", expected="one answer for each intent",
                fix="give both rows the same answer, or two intents",
            )  # fmt: skip
        rows.append((question, intent))
    return rows, answer_of


def _free_name(question: str, taken: Iterable[str]) -> str:
    """The beginning of a question, as no other intent is named."""
    name = " ".join(question.split())[:MAX_NAME_LETTERS]
    used = set(taken)
    if name not in used:
        return name
    number = 2
    while f"{name} ({number})" in used:
        number += 1
    return f"{name} ({number})"


def _check_conflicts(questions: Sequence[str], answers: Sequence[str]) -> None:
    """InputError for equal questions with different answers: which one is right, only a person knows."""
    rows_by_question: dict[str, list[int]] = defaultdict(list)
    for row, question in enumerate(questions):
        if split_words(question) and answers[row]:
            rows_by_question[question_form(question)].append(row)
    conflicts = [rows for rows in rows_by_question.values() if len({answers[row] for row in rows}) > 1]
    if conflicts:
        first = conflicts[0]
        shown = ", ".join(str(row) for row in first[:MAX_NOTED])
        raise InputError(
            f"{len(conflicts)} questions of the FAQ have different answers, such as {questions[first[0]][:80]!r} in "
            f"the rows {shown} (from 0)",
            expected="one answer for a question", fix="keep the answer that holds, and delete the others",
        )  # fmt: skip


def _read_pairs(table: Table, columns: QuestionColumns, warnings: list[str]) -> list[tuple[str, str]]:
    """Rows (question, intent) of a table of questions with intents."""
    questions = column_texts(table, columns.question, QUESTION_NAMES, "questions")
    names = column_texts(table, columns.intent, INTENT_NAMES, "intents")
    kept = [(question, name) for question, name in zip(questions, names, strict=True) if name and split_words(question)]
    if len(kept) < len(questions):
        warnings.append(f"{len(questions) - len(kept)} rows without words or without an intent are left out")
    by_question: dict[str, set[str]] = defaultdict(set)
    for question, name in kept:
        by_question[question_form(question)].add(name)
    conflicts = [question for question, several in by_question.items() if len(several) > 1]
    if conflicts:
        warnings.append(
            f"{len(conflicts)} questions stand under several intents, such as {conflicts[0][:80]!r}: all are learned, "
            "and none of them is answered by its wording alone"
        )
    return kept


def _without_repeats(rows: Iterable[tuple[str, str]], warnings: list[str]) -> list[tuple[str, str]]:
    """Each question of an intent once."""
    kept: dict[tuple[str, str], tuple[str, str]] = {}
    num_rows = 0
    for question, name in rows:
        num_rows += 1
        kept.setdefault((normalize_text(question), name), (question, name))
    if len(kept) < num_rows:
        warnings.append(f"{num_rows - len(kept)} questions stand twice under one intent: each is learned once")
    return list(kept.values())


def _few_examples(counts: Counter[str]) -> list[str]:
    alone = [name for name, count in counts.items() if count == 1]
    if not alone:
        return []
    shown = ", ".join(repr(name[:40]) for name in alone[:MAX_NOTED])
    what = f"{len(alone)} intents have a single question, such as {shown}"
    return [f"{what}: they are told by likeness alone, and nothing can be held back to prove their answers"]
