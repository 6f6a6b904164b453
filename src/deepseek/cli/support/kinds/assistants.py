"""Verbs on the bundle of an assistant: what `predict` and `evaluate` do with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from deepseek.cli.support import output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deepseek.cli.support.writers import Columns
    from deepseek.dialogue.understanding import Understanding

PART_QUESTIONS = 256  # that are understood at a time


def is_assistant(bundle: Path) -> bool:
    """Whether the bundle at a path understands questions. False for what is no bundle: others say what is wrong."""
    from deepseek.bundle import open_bundle
    from deepseek.errors import DeepseekError

    try:
        return open_bundle(bundle).manifest.task == "intents"
    except DeepseekError:
        return False


def predict_questions(bundle: Path, data: Path, out: Path | None, *, key: Path | None, as_json: bool) -> None:
    """Write row_id, prediction, probability, second, third, in_scope and decision of each question of the file `data`
    to `out` or as CSV on stdout; with --json one object, which has "predictions" where there is no `out`."""
    from deepseek.automl.assistant.questions import QUESTION_NAMES, column_texts
    from deepseek.cli.support.opening import warn_unchecked
    from deepseek.cli.support.writers import RecordsWriter, check_suffix, open_writer
    from deepseek.data import read_table
    from deepseek.engines.assistant import load_assistant

    if out is not None:
        check_suffix(out)
    assistant = load_assistant(bundle, key=key)
    warn_unchecked(bundle, key)
    questions = column_texts(read_table(data), "", QUESTION_NAMES, "questions")
    understood = [
        each for start in range(0, len(questions), PART_QUESTIONS)
        for each in assistant.understand(questions[start : start + PART_QUESTIONS])
    ]  # fmt: skip
    columns, records = answer_columns(understood), RecordsWriter()
    if out is None and as_json:
        records.write(columns)
    else:
        with open_writer(out) as writer:
            writer.write(columns)
    counts = {name: sum(each.decision == name for each in understood) for name in ("answer", "ask", "hand_over")}
    digest = "" if assistant.bundle is None else assistant.bundle.digest
    result: dict[str, object] = {
        "bundle": str(bundle), "digest": digest, "num_rows": len(questions), "decisions": counts,
        **({"predictions": records.rows} if out is None else {"out": str(out)}),
    }  # fmt: skip
    if as_json:
        output.emit(result, as_json)
    elif out is not None:
        output.note(f"{len(questions)} questions into {out}: {counts['answer']} answered, {counts['ask']} asked back, "
                    f"{counts['hand_over']} handed over")  # fmt: skip


def answer_columns(understood: Sequence[Understanding]) -> Columns:
    """The columns that `predict` writes, one row for each question."""
    import numpy as np

    def name(place: int) -> list[str]:
        return [each.intents[place].name if len(each.intents) > place else "" for each in understood]

    def probability(place: int) -> list[float]:
        return [each.intents[place].probability if len(each.intents) > place else 0.0 for each in understood]

    return {
        "row_id": np.arange(len(understood)), "prediction": np.array(name(0), object),
        "probability": np.array(probability(0)), "second": np.array(name(1), object),
        "third": np.array(name(2), object), "in_scope": np.array([each.in_scope for each in understood]),
        "decision": np.array([each.decision for each in understood], object),
        "second_probability": np.array(probability(1)), "third_probability": np.array(probability(2)),
        "num_parts": np.array([len(each.parts) for each in understood]),
    }  # fmt: skip


def evaluate_questions(bundle: Path, data: Path, *, key: Path | None, as_json: bool) -> None:
    """Figures of labelled questions, whose intent is oos where they belong to none."""
    from deepseek.automl.assistant.measure import measure
    from deepseek.automl.assistant.questions import read_labelled
    from deepseek.cli.support.opening import warn_unchecked
    from deepseek.data import read_table
    from deepseek.engines.assistant import load_assistant

    assistant = load_assistant(bundle, key=key)
    digest = "" if assistant.bundle is None else assistant.bundle.digest
    result = measure(assistant, read_labelled(read_table(data)), bundle=str(bundle), digest=digest)
    warn_unchecked(bundle, key)
    output.warn(result.warnings)
    output.emit(result, as_json, result.summary_parts)
