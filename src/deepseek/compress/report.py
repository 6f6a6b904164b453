"""What was tried, as JSON, as a picture and as a page: the evidence that a compressed bundle carries.

files = evidence_files(found)          # evidence/compression.json, .html and .png
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deepseek.compress.timing import BATCH_SIZES
from deepseek.contracts import Figure
from deepseek.extras import is_installed
from deepseek.look import numbers
from deepseek.look.charts import ParetoPoint, pareto
from deepseek.look.page import Section, page
from deepseek.look.tables import Cell, Column, figure, table
from deepseek.look.words import Text

if TYPE_CHECKING:
    from deepseek.compress.results import CompressionResult

SCORE_NAMES = {
    "accuracy": Text("accuracy", "准确率"),
    "agreement": Text("agreement with the given model", "与原模型的一致率"),
    "cosine": Text("cosine to the given model", "与原模型的余弦"),
    "rmse": Text("RMSE", "均方根误差"),
}


def result_to_dict(found: CompressionResult) -> dict[str, Any]:
    """Everything, in plain values."""
    return {
        "metric": found.metric,
        "num_rows": found.num_rows,
        "seed": found.seed,
        "limits": {name: getattr(found.limits, name) for name in ("keep", "max_mb", "min_speedup")},
        "given": [one.to_dict() | {"speedup": one.speedup} for one in found.given],
        "variants": [row.to_dict() for row in found.rows],
        "chosen": None if found.chosen is None else {"variant": found.chosen.variant, "engine": found.chosen.engine},
    }


def evidence_files(found: CompressionResult) -> dict[str, bytes]:
    """By path inside the bundle; the picture where matplotlib is installed."""
    plain = json.dumps(_replace_nonfinite(result_to_dict(found)), indent=2, sort_keys=True, allow_nan=False) + "\n"
    files = {"evidence/compression.json": plain.encode(), "evidence/compression.html": render_html(found).encode()}
    if is_installed("matplotlib"):
        files["evidence/compression.png"] = render_png(found)
    return files


def render_html(found: CompressionResult) -> str:
    """One offline page: the answer, the picture, the table, the provenance."""
    sections = [
        Section(
            Text("Speed against what is left", "速度与保留程度"),
            figure(
                pareto,
                pareto_choices(found),
                title=Text("Each variant in each engine", "各引擎中的各个变体"),
                caption=Text(
                    "Right is faster, up is better. Dashed lines are the limits.", "越右越快，越上越好。虚线为限制。"
                ),
                x_label=Text("times as fast as the given model", "相对原模型的速度倍数"),
                y_label=Text("share of the score that is left", "保留的得分比例"),
                limits=(found.limits.min_speedup or 1.0, found.limits.keep),
            ),
        ),
        Section(Text("What was measured", "测量结果"), _result_table(found)),
    ]
    return page(Text("Compression report", "压缩报告"), _answer_text(found), sections, provenance=_provenance(found))


def pareto_choices(found: CompressionResult) -> list[ParetoPoint]:
    """What was measured to the end."""
    return [
        ParetoPoint(f"{row.measured.variant}, {row.measured.engine}", row.measured.speedup, row.measured.kept.value,
               not row.refused)
        for row in found.rows
        if row.measured.speedup is not None and row.measured.kept is not None
    ]  # fmt: skip


def render_png(found: CompressionResult) -> bytes:
    """The picture by itself."""
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(7.2, 4.6), dpi=130, layout="constrained")
    axes = picture.subplots()
    for number, one in enumerate(sorted(pareto_choices(found), key=lambda one: one.x)):
        colour = "#2563eb" if one.is_good else "#a1a1aa"
        axes.scatter([one.x], [one.y], s=46, color=colour, marker="o" if one.is_good else "x", zorder=3)
        away = (7, -14)[number % 2]  # neighbours' names would lie on each other
        axes.annotate(str(one.name), (one.x, one.y), textcoords="offset points", xytext=(0, away), ha="center", size=8)
    axes.axvline(found.limits.min_speedup or 1.0, color="#71717a", linewidth=0.8, linestyle="--")
    axes.axhline(found.limits.keep, color="#71717a", linewidth=0.8, linestyle="--")
    axes.set_xlabel("times as fast as the given model")
    axes.set_ylabel(f"share of the {found.metric} that is left")
    axes.set_title("Accepted: blue dots. Refused: grey crosses. Dashed: the limits.", size=9)
    axes.margins(0.15)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    data = io.BytesIO()
    picture.savefig(data, format="png", metadata={"Software": None})
    return data.getvalue()


def _answer_text(found: CompressionResult) -> Text:
    if found.chosen is None:
        return Text("Nothing that was tried meets the limits.", "没有任何变体满足限制。")
    one = found.chosen
    assert one.kept is not None  # noqa: S101 - accepted is measured to the end
    given = found.given[0].size_bytes / 1e6
    speed, kept, size = f"{one.speedup:.2f}", f"{one.kept.value:.2%}", f"{one.size_bytes / 1e6:.1f}"
    return Text(
        f"{one.variant} in {one.engine} is {speed} times as fast, has {size} MB instead of {given:.1f} MB, and keeps "
        f"{kept} of the {found.metric}.",
        f"{one.variant}（{one.engine}）速度为 {speed} 倍，大小 {size} MB（原 {given:.1f} MB），保留 {kept} 的"
        f"{SCORE_NAMES[found.metric].zh if found.metric in SCORE_NAMES else found.metric}。",
    )


def _result_table(found: CompressionResult) -> Any:
    score = SCORE_NAMES.get(found.metric, Text(found.metric, found.metric))
    columns = [
        Column(Text("variant", "变体"), "text"), Column(Text("engine", "引擎"), "text"),
        Column(Text("verdict", "结论"), "text"), Column("MB"), Column(score),
        Column(Text("left", "保留")), Column(Text("times as fast", "速度倍数")),
        *(Column(Text(f"p50 / p99 ms, batch {batch}", f"p50 / p99 毫秒，批 {batch}")) for batch in BATCH_SIZES),
    ]  # fmt: skip
    given = [_table_row(one, Text("given", "原模型")) for one in found.given]
    rows = [_table_row(row.measured, row.refused or Text("accepted", "已接受")) for row in found.rows]
    return table(columns, [*given, *rows], data=result_to_dict(found))


def _table_row(one: Any, word: Cell) -> list[Cell]:
    variant, engine, *rest = measurement_cells(one)
    return [variant, engine, word, *rest]


def measurement_cells(one: Any) -> list[Cell]:
    """Variant, engine, MB, score, what is left, speed, latencies: the words of a row, also on the terminal."""
    return [
        one.variant,
        one.engine or numbers.UNKNOWN,
        f"{one.size_bytes / 1e6:.2f}" if one.size_bytes else numbers.UNKNOWN,
        _score_cell(one.score),
        f"{one.kept.value:.2%}" if one.kept and math.isfinite(one.kept.value) else numbers.UNKNOWN,
        f"{one.speedup:.2f}" if one.speedup else numbers.UNKNOWN,
        *(_latency_cell(one.timings, batch) for batch in BATCH_SIZES),
    ]


def _score_cell(score: Figure | None) -> str:
    if score is None or not math.isfinite(score.value):
        return numbers.UNKNOWN
    return f"{score.value:.4f} [{score.low:.4f}, {score.high:.4f}]"


def _latency_cell(timings: Mapping[int, Any] | None, batch: int) -> str:
    if not timings or batch not in timings:
        return numbers.UNKNOWN
    return f"{numbers.number(timings[batch].p50_ms)} / {numbers.number(timings[batch].p99_ms)}"


def _provenance(found: CompressionResult) -> dict[Any, Any]:
    limits = found.limits
    return {
        Text("judged on", "评判数据"): f"{found.num_rows:,} rows",
        Text(
            "limits", "限制"
        ): f"keep {limits.keep:g}, max MB {limits.max_mb or '-'}, speed {limits.min_speedup or 1:g}",
        Text("held against", "对比对象"): f"the given model in {found.given[0].engine}, its fastest exact engine here",
        Text("seed", "随机种子"): str(found.seed),
        Text("timing", "计时"): Text(
            "interleaved rounds, one thread, ratio of CPU time", "交错轮次，单线程，按 CPU 时间之比"
        ),
    }


def _replace_nonfinite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _replace_nonfinite(item) for key, item in value.items()}
    return [_replace_nonfinite(item) for item in value] if isinstance(value, (list, tuple)) else value
