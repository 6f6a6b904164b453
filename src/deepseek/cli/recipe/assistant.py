"""`deepseek recipe assistant`: an FAQ, or questions with intents, to an assistant that knows when it does not know."""

from __future__ import annotations

import shlex
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import BUNDLE, FILE, share
from deepseek.cli.support.progress import Progress

FOLDER = click.Path(path_type=Path, file_okay=False)
EXAMPLE_PRECISION = 0.9  # its questions are few

EPILOG = """\b
Examples:
  deepseek recipe assistant --example --out help
  deepseek recipe assistant faq.csv --out help
  deepseek recipe assistant --intents train.csv --test test.csv --out help
  deepseek recipe assistant faq.csv --intents train.csv --docs manuals --encoder all-MiniLM --tune --out help
  deepseek recipe assistant faq.csv --pairs pairs.csv --encoder e5-small --out help
  deepseek predict help questions.csv --out understood.csv
  deepseek evaluate help labelled.csv
"""


@click.command(epilog=EPILOG, short_help="An FAQ becomes an assistant that knows when it does not know.")
@click.argument("faq", type=FILE, required=False)
@click.option("--intents", type=FILE, metavar="FILE", help="Questions with their intents; oos: belongs to none.")
@click.option("--docs", type=FOLDER, help="Folder of .md and .txt files: each section is an answer, word for word.")
@click.option("--example", is_flag=True, help="Learn a small web shop, in English and Chinese.")
@click.option("--out", type=BUNDLE, required=True, help="Folder of the bundle.")
@click.option(
    "--encoder", "encoders", type=FOLDER, multiple=True, metavar="FOLDER",
    help="Text model as Hugging Face saves it. May be given again.  [default: the one that is installed]",
)  # fmt: skip
@click.option("--tune", is_flag=True, help="Let the first encoder learn the intents: minutes of CPU for 10,000 rows.")
@click.option(
    "--pairs", type=FILE, multiple=True,
    help="Pairs of questions that ask the same or not: the first encoder learns to judge them, and the judge is used "
    "where held questions say that it helps. May be given again: figures are of the first.",
)  # fmt: skip
@click.option("--precision", type=share, metavar="SHARE",
              help="Share of right answers among those given alone.  [default: 0.98; 0.9 with --example]")  # fmt: skip
@click.option("--confidence", default="0.95", show_default=True, type=share, metavar="SHARE", help="Of that promise.")
@click.option("--keep", default="0.95", show_default=True, type=share, metavar="SHARE",
              help="Least share of the questions in scope that are not handed over.")  # fmt: skip
@click.option("--calibrate", type=FILE, help="Questions with intents like those to come: thresholds are set on them.")
@click.option("--test", type=FILE, help="Questions with intents that nothing is learned from, to measure on.")
@click.option("--question", default="", metavar="COL", help="Column of questions.  [default: question, text, 问题 ...]")
@click.option("--intent", default="", metavar="COL", help="Column of intents.  [default: intent, category, 意图 ...]")
@click.option("--answer", default="", metavar="COL", help="Column of answers.  [default: answer, reply, 答案 ...]")
@click.option(
    "--question-a", default="", metavar="COL", help="Column of --pairs.  [default: question_a, sentence1 ...]"
)
@click.option(
    "--question-b", default="", metavar="COL", help="Column of --pairs.  [default: question_b, sentence2 ...]"
)
@click.option("--same", default="", metavar="COL",
              help="Column of --pairs: 1 or 0, yes or no.  [default: same, is_duplicate, label ...]")  # fmt: skip
@click.option("--dialogue", type=FILE, help="Slots and flows for `serve`, kept in the bundle.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**31 - 1), help="Of draws.")
@click.option("--key", type=FILE, help="Sign the bundle with this private key.")
@click.option("--overwrite", is_flag=True, help="Replace a bundle that is there.")
@output.json_option
def command(
    faq: Path | None, intents: Path | None, docs: Path | None, example: bool, out: Path, test: Path | None,
    calibrate: Path | None, precision: float | None, question: str, intent: str, answer: str, as_json: bool,
    pairs: tuple[Path, ...], question_a: str, question_b: str, same: str, **choices: Any,
) -> None:  # fmt: skip
    """Learn which intent or answer a question asks for, from an FAQ (columns question, answer), from --intents (columns
    question, intent), from --docs, or from all of them.

    Two judges say how likely the first answer is right and how likely the question is in scope at all. From the
    threshold on that is proven for --precision it answers alone; below, it asks back with three intents; what is out
    of scope it hands over. Where too few questions are held to prove anything, it asks back.
    """
    has_data = any(each is not None for each in (faq, intents, docs))
    if has_data == example:
        raise click.UsageError("give an FAQ, --intents or --docs, or --example alone")
    from deepseek.automl.assistant.labelled_pairs import PairColumns
    from deepseek.automl.assistant.options import AssistantOptions
    from deepseek.automl.assistant.questions import QuestionColumns
    from deepseek.bundle import check_target
    from deepseek.data import read_table
    from deepseek.recipes.assistant.example import example_tables
    from deepseek.recipes.assistant.run import run_assistant

    check_target(out, overwrite=choices["overwrite"], key=choices["key"])
    target = precision or (EXAMPLE_PRECISION if example else 0.98)
    with closing(Progress()) as progress:
        options = AssistantOptions(
            out, precision=target, progress=progress, command=shlex.join(["deepseek", *sys.argv[1:]]), **choices
        )
        tables = example_tables() if example else (
            None if intents is None else read_table(intents), None if faq is None else read_table(faq),
        )  # fmt: skip
        columns = QuestionColumns(question, intent, answer)
        result = run_assistant(
            options, intents=tables[0], faq=tables[1], documents=docs, columns=columns,
            test=None if test is None else read_table(test),
            calibration=None if calibrate is None else read_table(calibrate),
            pairs=[read_table(path) for path in pairs], pair_columns=PairColumns(question_a, question_b, same),
        )  # fmt: skip
    output.warn(list(result.warnings))
    output.emit(result, as_json, result.summary_parts)
