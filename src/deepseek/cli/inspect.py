"""`deepseek inspect`: what a bundle is, what it takes and gives, how good it is and where it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import BUNDLE, FILE
from deepseek.look.figures import VERDICTS, metric_title
from deepseek.look.numbers import count, duration, figure, number, size

if TYPE_CHECKING:
    from rich.table import Table

    from deepseek.bundle.leaderboard import Leaderboard, LeaderboardEntry
    from deepseek.bundle.manifest import EngineEntry, Input
    from deepseek.bundle.report import BundleReport
    from deepseek.look.summary import Figures

MAX_COLUMNS = 40
MAX_LABELS = 12

EPILOG = """\b
Examples:
  deepseek inspect loans
  deepseek inspect loans --trials
  deepseek inspect loans --json | jq .metrics
"""


@click.command(epilog=EPILOG, short_help="Say what a bundle holds.")
@click.argument("bundle", type=BUNDLE)
@click.option("--key", type=FILE, help="Public key that must have signed it (see keygen).")
@click.option("--trials", is_flag=True, help="List the trials of the search, with their figures on held-out rows.")
@output.json_option
def command(bundle: Path, key: Path | None, trials: bool, as_json: bool) -> None:
    """Say what BUNDLE is. Its files are checked by name; `deepseek verify` checks every byte."""
    from deepseek.bundle import inspect_bundle

    result = inspect_bundle(bundle, key=key, trials=trials)
    output.emit(result, as_json, lambda: report(result))


def report(result: BundleReport) -> list[object]:
    """The answer in one sentence, then the figures, then what goes in and out, last where it came from."""
    inputs = result.manifest.inputs
    parts: list[object] = [_headline(result)]
    if result.metrics:
        parts += ["", output.figure_table(_safe_names(result.metrics), _safe_names(result.baseline))]
    parts += ["", _input_table(inputs)]
    if len(inputs) > MAX_COLUMNS:
        parts.append(f"and {len(inputs) - MAX_COLUMNS} more: --json lists them all")
    if result.leaderboard is not None:
        parts += ["", *_leaderboard_parts(result.leaderboard)]
    return [*parts, "", _provenance_table(result)]


def _leaderboard_parts(board: Leaderboard) -> list[object]:
    """Every trial on the rows that it was not fitted on, the best first."""
    if not board.entries:
        return ["no search has made this bundle: it has no trials"]
    title = metric_title(board.metric).en
    better = "higher" if board.higher_is_better else "lower"
    rows = "" if board.num_rows is None else f" on {count(board.num_rows)} held-out rows"
    table = output.make_table("rank", "trial", "family", "share", title, "to the model", "", "CPU of a fit")
    for entry in board.entries:
        table.add_row(
            str(entry.rank), "" if entry.trial is None else str(entry.trial + 1), output.escape_text(entry.family),
            number(entry.weight) if entry.weight else "", _trial_figure(entry, board.metric),
            *_trial_difference(entry), duration(entry.fit_cpu_s) if entry.fit_cpu_s is not None else "",
        )  # fmt: skip
    return [f"{count(len(board.entries))} entries by {title}{rows}, the best first ({better} is better)", table]


def _trial_figure(entry: LeaderboardEntry, metric: str) -> str:
    if entry.figure is not None:
        return figure(entry.figure.value, entry.figure.low, entry.figure.high)
    return number(entry.metrics.get(metric))


def _trial_difference(entry: LeaderboardEntry) -> tuple[str, str]:
    """The difference to the packed model, and what it means."""
    measured = entry.difference
    if measured is None or measured.verdict == "identical":
        return "", "the model" if measured else ""
    words = VERDICTS[measured.verdict].en if measured.verdict in VERDICTS else measured.verdict
    return figure(measured.value, measured.low, measured.high), output.escape_text(words)


def _headline(result: BundleReport) -> str:
    manifest = result.manifest
    labels = [output.escape_text(label) for label in manifest.labels[:MAX_LABELS]]
    if len(manifest.labels) > MAX_LABELS:
        labels.append(f"... {len(manifest.labels)} labels in all")
    what = f"{output.escape_text(manifest.target)} is {', '.join(labels) if labels else 'a number'}"
    sizes = f"{len(manifest.inputs)} inputs, {size(result.size_bytes)}"
    return f"{manifest.name} {manifest.version}: {manifest.task}, {what}. {sizes}"


def _provenance_table(result: BundleReport) -> Table:
    from deepseek.cli.verify import SIGNATURES

    manifest, threshold = result.manifest, "none"
    if manifest.threshold is not None:
        threshold = f"{output.escape_text(manifest.labels[1])} from {number(manifest.threshold)} on"
    rows = [
        ("threshold", threshold),
        *[("engine", _engine_line(entry)) for entry in manifest.engines],
        ("signature", SIGNATURES[result.signature]),
        ("created", manifest.created),
        ("format", str(manifest.format)),
        ("seed", str(manifest.lineage.seed)),
        ("data", manifest.lineage.data or "not known"),
        ("parent", manifest.lineage.parent or "none"),
        ("digest", manifest.digest),
    ]
    return output.fact_table(rows)


def _safe_names(figures: Mapping[str, Figures]) -> dict[str, Figures]:
    """Figures by names that a table can draw as they are."""
    return {output.escape_text(name): figure for name, figure in figures.items()}


def _engine_line(entry: EngineEntry) -> str:
    rows = f"from {entry.from_rows} rows on" if entry.from_rows > 1 else "from one row on"
    return f"{output.escape_text(entry.kind)} {rows}, differs by at most {number(entry.parity)}"


def _input_table(inputs: Sequence[Input]) -> Table:
    table = output.make_table("input", "kind", "type", "", value_justify="left")
    for column in inputs[:MAX_COLUMNS]:
        words = map(output.escape_text, (column.name, column.modality, column.dtype))
        table.add_row(*words, "" if column.required else "may be missing")
    return table
