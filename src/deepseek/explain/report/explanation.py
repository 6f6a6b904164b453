"""The whole explanation of a bundle: the object that explain_bundle() returns and `explain --json` prints.

result = explain_bundle("loans", "new.csv")
result.importance[0].column; result["importance"][0]["column"]
result.to_dict()                      the document
print(result.summary())               what the command line prints
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from deepseek.bundle.manifest import Manifest
from deepseek.explain.evaluation.masking_faithfulness import FEW_PLAYERS
from deepseek.explain.evaluation.records import Faithfulness, PartFaithfulness, RowFaithfulness, SkippedFaithfulness
from deepseek.explain.records import (
    OPTIONAL,
    AblationCheck,
    AdditivityCheck,
    AnswerDistribution,
    ColumnImportance,
    GlobalReport,
    JsonRecord,
    LeadingColumn,
    RowExplanation,
    RowReport,
)
from deepseek.explain.report.coherence import coherence_notes
from deepseek.explain.report.document import FORMAT_VERSION, BundleProvenance, ModelProvenance, Provenance
from deepseek.explain.report.evidence_documents import Evidence
from deepseek.explain.tabular.additivity import additivity_warnings
from deepseek.look.notebook.card import card, lines
from deepseek.look.numbers import count, format_value, number, signed_number
from deepseek.look.rows import Contribution, bars, waterfall
from deepseek.look.tables import figure
from deepseek.look.words import Html, Text, name_class
from deepseek.results import Result

if TYPE_CHECKING:
    from deepseek.explain.modules.layer_records import BundleLayerPath

MAX_COLUMNS = 15  # in the terminal; --json has all
MAX_EXCERPT_COLUMNS, MAX_EXCERPT_ROWS = 10, 5  # in a notebook


Facts = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What explaining one model on one table found, before anything of it is written."""

    model: BundleProvenance | ModelProvenance
    report: GlobalReport
    rows: tuple[RowReport, ...]  # with row_id, prediction and contributions
    page_rows: tuple[RowReport, ...]  # the same, with texts and pictures in their parts
    why: str  # why this method
    num_evaluations: int | None = None  # rows that the model answered; None where they were not counted
    layers: tuple[BundleLayerPath, ...] | None = None
    faithfulness: Faithfulness | None = None
    manifest: Manifest | None = None
    evidence: Evidence = field(default_factory=Evidence)  # of a page


@dataclass(frozen=True, slots=True, eq=False)
class BatchSummary(JsonRecord):
    """All explained rows as a whole."""

    answers: AnswerDistribution
    leading: tuple[LeadingColumn, ...]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class BundleExplanation(JsonRecord, Result):
    """The explanation of a bundle on a table: which columns matter, and why single rows were answered as they were."""

    warnings: tuple[str, ...]  # what does not add up; read it first
    bundle: str
    digest: str
    num_rows: int  # of the table
    num_rows_explained: int
    method: str
    scale: str
    target: str | None
    importance: tuple[ColumnImportance, ...]
    by_class: Mapping[str, Mapping[str, float]]
    additivity: AdditivityCheck
    ablation: AblationCheck
    rows: tuple[RowExplanation, ...] = field(metadata={"key": "explanations"})
    format: int = FORMAT_VERSION
    batch: BatchSummary = field(metadata={"key": "summary"})
    outcome: str | None = field(default=None, metadata=OPTIONAL)  # the column that is predicted
    layers: tuple[BundleLayerPath, ...] | None = field(default=None, metadata=OPTIONAL)
    faithfulness: Faithfulness | None = field(default=None, metadata={**OPTIONAL, "key": "trust"})
    provenance: Provenance | None = field(default=None, metadata=OPTIONAL)  # where something was written

    @classmethod
    def from_findings(cls, path: str | Path, num_rows: int, findings: Findings) -> BundleExplanation:
        """The document of the bundle at `path`, on a table of `num_rows` rows; without provenance."""
        report = findings.report
        return cls(
            warnings=tuple(
                warning.en for warning in additivity_warnings(report.additivity, findings.rows, report.scale)
            ),
            bundle=str(path), digest=findings.model.digest, num_rows=num_rows, num_rows_explained=report.num_rows,
            method=report.method, scale=report.scale, target=report.target, importance=report.importance,
            by_class=report.by_class, additivity=report.additivity, ablation=report.ablation,
            rows=tuple(row.explanation() for row in findings.rows),
            outcome=report.outcome, batch=BatchSummary(report.answers or AnswerDistribution(), report.leading),
            layers=findings.layers, faithfulness=findings.faithfulness,
        )  # fmt: skip

    def text_parts(self) -> list[str | Facts]:
        """What the command line prints: lines, and between them tables of facts. What does not add up first, then
        importance, then each row in words, layers and faithfulness."""
        num_classes = len(self.by_class)
        target = self.target and name_class(self.target, self.outcome)
        whose = f"all {num_classes} classes" if num_classes else target
        scale = f"{self.scale} of {whose}" if whose else self.scale
        parts: list[str | Facts] = [
            *(f"WARNING: {warning}" for warning in self.warnings),
            f"Mean influence on the {scale}, over {count(self.num_rows_explained)} rows",
            tuple((entry.column, number(entry.mean_abs)) for entry in self.importance[:MAX_COLUMNS]),
        ]
        if len(self.importance) > MAX_COLUMNS:
            parts.append(f"and {len(self.importance) - MAX_COLUMNS} more columns: --json lists them all")
        for row in self.rows:
            parts += _row_parts(row)
        for path in self.layers or ():
            parts += ["", *_ledger_parts(path)]
        return parts + _faithfulness_parts(self.faithfulness)

    def summary(self) -> str:
        """The text that `deepseek explain` prints."""
        return as_text(self.text_parts())

    def _repr_html_(self) -> str:
        """An excerpt of the page, for a notebook: warnings, the strongest columns and the way to each row's answer."""
        largest = self.importance[:MAX_EXCERPT_COLUMNS]
        scale = f"{self.scale} of {name_class(self.target, self.outcome)}" if self.target else self.scale
        influence = figure(
            bars, [f"{entry.column}, {number(100 * entry.share)} %" for entry in largest],
            [entry.mean_abs for entry in largest],
            title=Text("What matters", "什么重要"), label=Text(f"mean influence, {scale}", f"平均影响（{scale}）"),
        )  # fmt: skip
        rows = [_row_card(row, scale) for row in self.rows[:MAX_EXCERPT_ROWS]]
        more = len(self.rows) - len(rows)
        rest = lines(Text(f"and {more} more rows", f"另有 {more} 行"), cls="soft") if more else Html("")
        answer = Text(
            f"{self.method}, over {count(self.num_rows_explained)} rows.",
            f"{self.method}，共 {count(self.num_rows_explained)} 行。",
        )
        title = Text(f"What matters in {self.bundle}", f"{self.bundle} 中什么重要")
        return card(title, answer, lines(*self.warnings, cls="warn"), influence, *rows, rest)


def _row_card(row: RowExplanation, scale: str) -> Html:
    """The reasons of a row, and its waterfall."""
    ordered = sorted(row.contributions.items(), key=lambda item: -abs(item[1]))
    shown, rest = ordered[:MAX_EXCERPT_COLUMNS], ordered[MAX_EXCERPT_COLUMNS:]
    plot = figure(
        waterfall, [Contribution(name, value) for name, value in shown], base=row.base_value, output=row.output,
        num_shown=len(shown), others=(len(rest), sum(value for _, value in rest)), label=scale,
        title=Text(f"Row {row.row_id}: {row.prediction}", f"第 {row.row_id} 行：{row.prediction}"),
        caption=Text(f"Read upwards. Residual {number(row.residual)}.", f"自下而上阅读。残差 {number(row.residual)}。"),
    )  # fmt: skip
    reasons = [Text(en, zh) for en, zh in zip(row.reasons, row.reasons_zh, strict=True)]
    return Html(f"{plot}{lines(*reasons)}")


def as_text(parts: Sequence[str | Facts]) -> str:
    """Lines, and facts in two columns.

    >>> print(as_text(["Mean influence", (("age", "0.5"), ("income", "0.2"))]))
    Mean influence
    age     0.5
    income  0.2
    """
    lines = []
    for part in parts:
        if isinstance(part, str):
            lines.append(part)
            continue
        width = max((len(name) for name, _ in part), default=0)
        lines += [f"{name:{width}}  {value}" for name, value in part]
    return "\n".join(lines)


def _row_parts(row: RowExplanation) -> list[str | Facts]:
    sums = f"{signed_number(row.base_value)} at the start, {signed_number(row.output)} in all"
    sums += "" if row.adds_up else f", {signed_number(row.residual)} of it NOT EXPLAINED"
    return [
        "",
        f"row {row.row_id}: {row.prediction}; {sums}",
        *(f"  {reason}" for reason in row.reasons),
        *(f"  {' with '.join(pair.columns)}: {signed_number(pair.value)}" for pair in row.interactions or ()),
        *(f"  {part['column']}: {note}" for part in row.parts or () for note in part["notes"]),
    ]


def _faithfulness_parts(faithfulness: Faithfulness | None) -> list[str | Facts]:
    """How many rows pass, and the figures of all of them; the page says what they mean."""
    if faithfulness is None or isinstance(faithfulness, SkippedFaithfulness) or not faithfulness.rows:
        return []
    rows = faithfulness.rows
    lines = _curve_facts(rows)
    for name in ("infidelity", "sensitivity"):
        known = [getattr(row, name) for row in rows if getattr(row, name) is not None]
        if known:
            lines.append((name, f"{number(max(known))} at most"))
    correlations = [row.agreement.rank_correlation for row in rows if row.agreement]
    if correlations:
        lines.append(
            (f"agreement with {faithfulness.second}", f"rank correlation {number(min(correlations))} at least")
        )
    parts = [part for row in rows for part in row.parts or ()]
    for column in dict.fromkeys(part.column for part in parts):
        facts = _curve_facts([part for part in parts if part.column == column])
        lines += [(f"{column}, {name}", value) for name, value in facts]
    if faithfulness.randomization:
        lines.append(("likeness with a shuffled model", number(faithfulness.randomization[-1].similarity)))
    parts_of_rows = [line for row in rows for line in _counterfactual_lines(row)]
    return ["", "how far to trust it", tuple(lines), *(f"  {note}" for note in faithfulness.notes), *parts_of_rows]


def _counterfactual_lines(row: RowFaithfulness) -> list[str]:
    """The fewest changes of a row that give another class, and whether they hold together."""
    report = row.counterfactual
    if report is None or report.tokens is not None:
        return []
    changes = "; ".join(
        f"{name} {format_value(old)} -> {format_value(new)}" for name, (old, new) in report.changes.items()
    )
    lines = [f"row {row.row_id} would be {report.to_class} instead of {report.from_class} with {changes}"]
    return lines + [f"  {words.en}" for words, _ in coherence_notes(report)]


def _curve_facts(rows: Sequence[RowFaithfulness | PartFaithfulness]) -> list[tuple[str, str]]:
    """In how many rows each curve passes; of few players hardly any order can be told from chance."""
    judged = [row for row in rows if row.num_players > FEW_PLAYERS]
    if not judged:
        return [("deletion and insertion", f"not to be told from chance with {FEW_PLAYERS} or fewer")]
    num_passing = {
        "deletion": sum(row.deletion.passes for row in judged),
        "insertion": sum(row.insertion.passes for row in judged),
    }
    return [(name, f"{num} of {len(judged)} rows beyond 95 % of random orders") for name, num in num_passing.items()]


def _ledger_parts(path: BundleLayerPath) -> list[str | Facts]:
    """What each layer of one perceptron sums to, and whether that is the change to be explained."""
    lines = []
    for line in path.path.ledger():
        verdict = "balances" if line.passes else "DOES NOT BALANCE"
        if line.passes is None:
            verdict = f"{signed_number(line.bypassed)} passes it by"
        lines.append((f"{line.layer} ({line.kind})", f"{signed_number(line.sum)}, {verdict}"))
    return [f"part {path.part}, layer by layer: {path.path.method}", tuple(lines)]
