"""A bundle as a notebook shows it: what it predicts, how well, what it does not keep, what matters in it, who made it.

    bundle_card(open_bundle("loans"))       # HTML for a cell's output

Everything comes from the bundle's own files, so that whoever opens it sees the same.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from deepseek.bundle.fields import parse_json_object
from deepseek.bundle.inspect import read_figures, read_promises
from deepseek.bundle.paths import METRICS_FILE
from deepseek.errors import IntegrityError
from deepseek.look import numbers
from deepseek.look.notebook.card import card, disclosure, lines
from deepseek.look.notebook.figures import figure_table, row_count
from deepseek.look.rows import bars
from deepseek.look.tables import Cell, facts, figure
from deepseek.look.words import Html, Text, Words

if TYPE_CHECKING:
    from deepseek.bundle.read import Bundle

EXPLANATION_FILE = "evidence/explanation.json"
MAX_COLUMNS = 8  # whose influence is drawn
_TASKS = {
    "binary": Text("one of two classes", "两类之一"),
    "multiclass": Text("one of several classes", "多类之一"),
    "regression": Text("a value", "一个数值"),
}


def bundle_card(bundle: Bundle) -> str:
    """The card of an open bundle. IntegrityError for evidence that cannot be read."""
    manifest = bundle.manifest
    target = manifest.target or manifest.task
    kind = _TASKS.get(manifest.task, Text(manifest.task, manifest.task))
    count = len(manifest.inputs)
    answer = Text(f"Predicts {target} ({kind.en}) from {count} columns.", f"由 {count} 列预测 {target}（{kind.zh}）。")
    parts = [lines(*read_promises(bundle).warnings(), cls="warn"), _figures(bundle), _influence(bundle)]
    provenance: dict[Words, Cell] = {
        Text("folder", "文件夹"): str(bundle.path),
        Text("made", "制作时间"): manifest.created,
        Text("size", "大小"): numbers.size(bundle.size_bytes),
        Text("signature", "签名"): bundle.signature,
        Text("engines", "引擎"): ", ".join(entry.kind for entry in manifest.engines),
        Text("digest", "摘要"): manifest.digest,
    }
    return card(
        f"{manifest.name} {manifest.version}", answer, *parts, disclosure(Text("Provenance", "来历"), facts(provenance))
    )


def _figures(bundle: Bundle) -> Html:
    """The measured figures beside those of the baseline."""
    metrics, baseline = read_figures(bundle)
    num_rows, kind = None, "test"
    if metrics:
        report = parse_json_object(bundle.read(METRICS_FILE), METRICS_FILE)
        num_rows, kind = report.get("num_rows"), str(report.get("rows", kind))
    return figure_table(metrics, baseline, caption=row_count(num_rows, kind) if isinstance(num_rows, int) else "")


def _influence(bundle: Bundle) -> Html:
    """How much each column moves the answers, as bars; nothing where the evidence does not say."""
    if not bundle.has(EXPLANATION_FILE):
        return Html("")
    report = parse_json_object(bundle.read(EXPLANATION_FILE), EXPLANATION_FILE)
    importance = report.get("importance")
    if not isinstance(importance, dict) or not all(
        isinstance(value, (int, float)) and math.isfinite(value) and value >= 0 for value in importance.values()
    ):
        raise IntegrityError(
            f"{EXPLANATION_FILE} does not hold the influence of columns",
            expected="numbers by column, as ship writes them", fix="make the bundle again",
        )  # fmt: skip
    largest = sorted(importance, key=lambda name: -importance[name])[:MAX_COLUMNS]
    scale = str(report.get("scale", ""))
    more = len(importance) - len(largest)
    caption: Words = Text(f"and {more} more columns", f"另有 {more} 列") if more else ""
    return figure(
        bars, largest, [float(importance[name]) for name in largest],
        title=Text("What moves its answers", "什么影响其答案"), caption=caption,
        label=Text(f"mean influence, {scale}", f"平均影响（{scale}）"),
    )  # fmt: skip
