"""The evidence of a compression as JSON, as a chart and as an HTML page; a compressed bundle carries all three.

files = evidence_files(found)          # evidence/compression.json, .html and .png
"""

from __future__ import annotations

import io
import json
import math
from typing import Any

from deepseek.compress.results import CompressionResult, measurement_cells
from deepseek.compress.timing import BATCH_SIZES
from deepseek.extras import is_installed
from deepseek.look.charts import ParetoPoint, pareto
from deepseek.look.page import Section, page
from deepseek.look.tables import Cell, Column, figure, table
from deepseek.look.words import Text

SCORE_NAMES = {
    "accuracy": Text("accuracy", "准确率"),
    "agreement": Text("agreement with the given model", "与原模型的一致率"),
    "cosine": Text("cosine to the given model", "与原模型的余弦"),
    "rmse": Text("RMSE", "均方根误差"),
}


def evidence_files(result: CompressionResult) -> dict[str, bytes]:
    """Evidence files by their path inside the bundle; the PNG only where matplotlib is installed."""
    document = json.dumps(_replace_nonfinite(result.evidence()), indent=2, sort_keys=True, allow_nan=False) + "\n"
    files = {"evidence/compression.json": document.encode(), "evidence/compression.html": render_html(result).encode()}
    if is_installed("matplotlib"):
        files["evidence/compression.png"] = render_png(result)
    return files


def render_html(result: CompressionResult) -> str:
    """One offline HTML page: the answer, the chart, the table, the provenance."""
    sections = [
        Section(
            Text("Speed against what is left", "速度与保留程度"),
            figure(
                pareto,
                pareto_choices(result),
                title=Text("Each variant in each engine", "各引擎中的各个变体"),
                caption=Text(
                    "Right is faster, up is better. Dashed lines are the limits.", "越右越快，越上越好。虚线为限制。"
                ),
                x_label=Text("times as fast as the given model", "相对原模型的速度倍数"),
                y_label=Text("share of the score that is left", "保留的得分比例"),
                limits=(result.limits.min_speedup or 1.0, result.limits.keep),
            ),
        ),
        Section(Text("What was measured", "测量结果"), _result_table(result)),
    ]
    return page(Text("Compression report", "压缩报告"), _answer_text(result), sections, provenance=_provenance(result))


def pareto_choices(result: CompressionResult) -> list[ParetoPoint]:
    """Points of the speed-against-score chart: the variants whose speed and score were both measured."""
    return [
        ParetoPoint(f"{row.measured.variant}, {row.measured.engine}", row.measured.speedup, row.measured.kept.value,
               not row.refused)
        for row in result.rows
        if row.measured.speedup is not None and row.measured.kept is not None
    ]  # fmt: skip


def render_png(result: CompressionResult) -> bytes:
    """The speed-against-score chart as a PNG file."""
    from matplotlib.figure import Figure as Picture

    chart = Picture(figsize=(7.2, 4.6), dpi=130, layout="constrained")
    axes = chart.subplots()
    for number, choice in enumerate(sorted(pareto_choices(result), key=lambda choice: choice.x)):
        color = "#2563eb" if choice.is_good else "#a1a1aa"
        axes.scatter([choice.x], [choice.y], s=46, color=color, marker="o" if choice.is_good else "x", zorder=3)
        offset = (7, -14)[number % 2]  # alternating, so that names of neighbors do not overlap
        axes.annotate(
            str(choice.name), (choice.x, choice.y), textcoords="offset points", xytext=(0, offset), ha="center", size=8
        )
    axes.axvline(result.limits.min_speedup or 1.0, color="#71717a", linewidth=0.8, linestyle="--")
    axes.axhline(result.limits.keep, color="#71717a", linewidth=0.8, linestyle="--")
    axes.set_xlabel("times as fast as the given model")
    axes.set_ylabel(f"share of the {result.metric} that is left")
    axes.set_title("Accepted: blue dots. Refused: grey crosses. Dashed: the limits.", size=9)
    axes.margins(0.15)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    data = io.BytesIO()
    chart.savefig(data, format="png", metadata={"Software": None})
    return data.getvalue()


def _answer_text(result: CompressionResult) -> Text:
    if result.chosen is None:
        return Text("Nothing that was tried meets the limits.", "没有任何变体满足限制。")
    chosen = result.chosen
    assert chosen.kept is not None  # noqa: S101 - accepted is measured to the end
    original_mb = result.originals[0].size_bytes / 1e6
    speed, kept, size = f"{chosen.speedup:.2f}", f"{chosen.kept.value:.2%}", f"{chosen.size_bytes / 1e6:.1f}"
    return Text(
        f"{chosen.variant} in {chosen.engine} is {speed} times as fast, has {size} MB instead of {original_mb:.1f} MB, "
        f"and keeps {kept} of the {result.metric}.",
        f"{chosen.variant}（{chosen.engine}）速度为 {speed} 倍，大小 {size} MB（原 {original_mb:.1f} MB），"
        f"保留 {kept} 的"
        f"{SCORE_NAMES[result.metric].zh if result.metric in SCORE_NAMES else result.metric}。",
    )


def _result_table(result: CompressionResult) -> Any:
    score = SCORE_NAMES.get(result.metric, Text(result.metric, result.metric))
    columns = [
        Column(Text("variant", "变体"), "text"), Column(Text("engine", "引擎"), "text"),
        Column(Text("verdict", "结论"), "text"), Column("MB"), Column(score),
        Column(Text("left", "保留")), Column(Text("times as fast", "速度倍数")),
        *(Column(Text(f"p50 / p99 ms, batch {batch}", f"p50 / p99 毫秒，批 {batch}")) for batch in BATCH_SIZES),
    ]  # fmt: skip
    original_rows = [_table_row(original, Text("given", "原模型")) for original in result.originals]
    rows = [_table_row(row.measured, row.refused or Text("accepted", "已接受")) for row in result.rows]
    return table(columns, [*original_rows, *rows], data=result.evidence())


def _table_row(measurement: Any, verdict: Cell) -> list[Cell]:
    variant, engine, *figures = measurement_cells(measurement)
    return [variant, engine, verdict, *figures]


def _provenance(result: CompressionResult) -> dict[Any, Any]:
    limits = result.limits
    return {
        Text("judged on", "评判数据"): f"{result.num_rows:,} rows",
        Text(
            "limits", "限制"
        ): f"keep {limits.keep:g}, max MB {limits.max_mb or '-'}, speed {limits.min_speedup or 1:g}",
        Text(
            "held against", "对比对象"
        ): f"the given model in {result.originals[0].engine}, its fastest exact engine here",
        Text("seed", "随机种子"): str(result.seed),
        Text("timing", "计时"): Text(
            "interleaved rounds, one thread, ratio of CPU time", "交错轮次，单线程，按 CPU 时间之比"
        ),
    }


def _replace_nonfinite(document: Any) -> Any:
    if isinstance(document, float):
        return document if math.isfinite(document) else None
    if isinstance(document, dict):
        return {key: _replace_nonfinite(item) for key, item in document.items()}
    return [_replace_nonfinite(item) for item in document] if isinstance(document, (list, tuple)) else document
