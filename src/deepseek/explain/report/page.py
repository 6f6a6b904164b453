"""The report: which columns matter, why single rows came out so, how good the model is, as one offline HTML page.

    report, rows = global_report(explainer, features, records), row_reports(attribution, records[:5])
    write_report("report.html", report, rows, manifest=bundle.manifest, evidence=read_evidence(bundle))

Reads the records of summary.py and the evidence/*.json of a bundle; whatever is not given is left out of the page.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from deepseek import look
from deepseek.bundle import Bundle, Manifest
from deepseek.bundle.fields import parse_json_object
from deepseek.contracts import Prediction
from deepseek.errors import InputError
from deepseek.explain.evaluation.records import Faithfulness
from deepseek.explain.modules.layer_page import layer_sections
from deepseek.explain.records import DependencePoints, GlobalReport, RowReport
from deepseek.explain.report import evidence as report_evidence
from deepseek.explain.report.batch import batch_summary, provenance_facts
from deepseek.explain.report.document import Provenance
from deepseek.explain.report.evidence_documents import Evidence
from deepseek.explain.report.faithfulness import faithfulness_sections
from deepseek.explain.report.rows import SCALE_NAMES_ZH, row_sections, scale_label
from deepseek.explain.report.summary import to_epoch_ms
from deepseek.explain.tabular.additivity import additivity_warnings
from deepseek.files import atomic_file
from deepseek.look import Column, Html, Section, Text, Words, figure, flow, numbers, saliency
from deepseek.look.tables import Cell

if TYPE_CHECKING:
    from deepseek.explain.modules.layer_records import BundleLayerPath

MAX_ROWS = 50  # whose waterfalls a page can hold
_NUM_BARS = 20
# Columns in the table: few read on, and print needs a page for each 30; the JSON file has them all.
_MAX_LISTED_COLUMNS = 100
_MAX_CATEGORIES = 12
_NUM_HEADLINE_COLUMNS = 3  # columns in the first sentence
_BEESWARM_CAPTION = Text(
    "Every dot is one row: right of zero it raised the output, left it lowered it; its colour is the column's value.",
    "每个点代表一行：零线右侧表示提高输出，左侧表示降低输出；颜色表示该列取值的高低。",
)
_MEAN_CAPTION = Text(
    "How far each column moves the output on average, up or down.", "各列对输出的平均影响幅度（不分方向）。"
)


def write_report(
    path: str | Path | None,
    report: GlobalReport,
    rows: Sequence[RowReport] = (),
    *,
    manifest: Manifest | None = None,
    evidence: Evidence | None = None,
    command: str = "",
    layers: Sequence[BundleLayerPath] | None = None,
    trust: Faithfulness | None = None,
    provenance: Provenance | None = None,
) -> str:
    """Write the page to `path` (None: only return it).

    `evidence` is read_evidence()'s, `trust` the faithfulness of the rows. `command` is what makes this page again.
    InputError when there are more than 50 rows.
    """
    if len(rows) > MAX_ROWS:
        raise InputError(
            f"{len(rows)} rows are to be shown",
            expected=f"at most {MAX_ROWS} on one page",
            fix="show them on several pages",
        )
    name = manifest.name if manifest else ""
    known: Evidence = evidence or {}
    names = [str(place if row.row_id is None else row.row_id) for place, row in enumerate(rows)]
    with report_evidence.refuse_unreadable():
        evidence_parts = [*report_evidence.evidence_sections(known), report_evidence.checks_section(report, known)]
        lead, promises = report_evidence.headline(known), report_evidence.promise_warnings(known)
        facts = provenance_facts(report, manifest, known, command, provenance)
    sections = [
        _importance_section(report), *_dependence_sections(report), *row_sections(rows),
        *layer_sections(layers or (), names), *faithfulness_sections(trust, report.outcome), *evidence_parts,
    ]  # fmt: skip
    warnings: list[Words] = [
        *(look.join(Text("Warning: ", "警告："), text, Text(".", "。")) for text in promises),
        *additivity_warnings(report.additivity, rows, report.scale),
    ]
    html = look.page(
        look.join(Text("Explanation report", "解释报告"), f": {name}" if name else ""),
        look.join(*(look.join(warning, " ") for warning in warnings), _headline(report, name)),
        sections,
        provenance=facts,
        lead=lead,
        style=(saliency.STYLE if any(row.parts for row in rows) else "") + (flow.STYLE if layers else ""),
    )
    if path is not None:
        with atomic_file(Path(path)) as part:
            part.write_text(html, encoding="utf-8")
    return html


def read_evidence(bundle: Bundle) -> Evidence:
    """Every evidence/NAME.json of a bundle by NAME. IntegrityError for a file that holds no JSON object."""
    documents = {
        Path(file).stem: parse_json_object(bundle.read(file), file)
        for file in bundle.manifest.files
        if file.startswith("evidence/") and file.endswith(".json")
    }
    return cast("Evidence", documents)


def format_answers(prediction: Prediction) -> list[str]:
    """Each row's answer in words."""
    if prediction.labels is None or prediction.probabilities is None:
        return [numbers.number(value) for value in prediction.values.tolist()] if prediction.values is not None else []
    places = {label: index for index, label in enumerate(prediction.labels_known)}
    return [
        f"{label} ({numbers.number(probabilities[places[label]])})"
        for label, probabilities in zip(prediction.labels.tolist(), prediction.probabilities.tolist(), strict=True)
    ]


def _importance_scale(report: GlobalReport) -> Words:
    """The scale of the mean influence: of many classes it is the mean over them."""
    num = len(report.by_class)
    if not num:
        return scale_label(report)
    return Text(f"{report.scale}, mean over {num} classes", f"{SCALE_NAMES_ZH[report.scale]}，{num} 个类别的平均")


def _headline(report: GlobalReport, name: str) -> Text:
    """Which columns matter, in one sentence."""
    top = report.importance[:_NUM_HEADLINE_COLUMNS]
    share = numbers.number(100 * sum(entry.share for entry in top))
    rows = numbers.count(report.num_rows)
    columns = [numbers.clip(entry.column) for entry in top]
    en = " and ".join(filter(None, [", ".join(columns[:-1]), columns[-1]])) if columns else "nothing"
    zh = "、".join(columns)
    whose = f"the answers of {name}" if name else "the answers"
    if len(report.importance) == 1:  # all that there is moves most: what counts is what it is made of
        return Text(f"What in {en} moves {whose}, over {rows} rows.", f"{zh} 中的哪些部分影响输出，共 {rows} 行。")
    return Text(
        f"{en} move{'s' if len(columns) == 1 else ''} {whose} most: {share} % of all influence over {rows} rows.",
        f"对 {name or '模型'} 结果影响最大的是 {zh}：在 {rows} 行数据上占全部影响的 {share} %。",
    )


def _importance_section(report: GlobalReport) -> Section:
    """Importance, the spread behind it, and the table of all columns."""
    top = report.importance[:_NUM_BARS]
    scale = scale_label(report)
    parts = [
        figure(
            look.bars,
            [entry.column for entry in top],
            [entry.mean_abs for entry in top],
            title=Text("Mean influence of each column", "各列的平均影响"),
            label=look.join(Text("mean |contribution|, ", "平均 |贡献|，"), _importance_scale(report)),
            caption=_MEAN_CAPTION,
        )
    ]
    swarms = report.beeswarm
    if swarms:
        parts.append(
            figure(
                look.beeswarm,
                [swarm.column for swarm in swarms],
                [list(zip(swarm.attribution, swarm.rank, strict=True)) for swarm in swarms],
                title=Text("How values move the output", "取值如何影响输出"),
                label=look.join(Text("contribution, ", "贡献，"), scale),
                caption=_BEESWARM_CAPTION,
            )
        )
    parts.append(_importance_table(report))
    if report.by_class:
        parts.append(_by_class_table(report))
    parts.append(batch_summary(report))
    return Section(Text("What matters", "哪些列重要"), Html("".join(parts)), id="importance")


def _importance_table(report: GlobalReport) -> Html:
    num = len(report.importance)
    moving = [entry for entry in report.importance if entry.mean_abs] or report.importance
    entries = moving[:_MAX_LISTED_COLUMNS]
    columns = [
        Column(Text("Column", "列"), "text"),
        Column(Text("Mean influence", "平均影响")),
        Column(Text("Share of all", "占全部比例")),
        Column(Text("Mean contribution", "平均贡献")),
    ]
    rows: list[list[Cell]] = [
        [
            entry.column,
            entry.mean_abs,
            f"{numbers.number(100 * entry.share)} %",
            numbers.signed_number(entry.mean),
        ]
        for entry in entries
    ]
    title = look.inline(_importance_table_title(len(entries), num))
    caption = look.join(Text("On the scale: ", "尺度："), _importance_scale(report))
    if len(entries) == len(moving) < num:
        caption = look.join(caption, Text("; the other columns move nothing", "；其余各列没有影响"))
    if report.by_class:
        caption = look.join(caption, Text("; mean contribution: ", "；平均贡献："), scale_label(report))
    table = look.table(columns, rows, caption=caption, data=entries)
    # On paper the bars say it; a table of 100 columns would take three pages.
    return Html(f'<details class="screen"><summary>{title}</summary>{table}</details>')


def _importance_table_title(num_shown: int, num: int) -> Text:
    if num == 1:
        return Text("The column as a table", "该列（表格）")
    if num == num_shown:
        return Text(f"All {num} columns as a table", f"全部 {num} 列（表格）")
    return Text(f"The first {num_shown} of {num} columns as a table", f"前 {num_shown} 列（共 {num} 列）")


def _by_class_table(report: GlobalReport) -> Html:
    """Mean influence of each column on each class."""
    classes, shown = list(report.by_class), [entry.column for entry in report.importance[:_NUM_BARS]]
    values = {name: {column: report.by_class[name][column] for column in shown} for name in classes}
    columns = [
        Column(Text("Column", "列"), "text"),
        *(Column(look.name_class(name, report.outcome)) for name in classes),
    ]
    rows: list[list[Cell]] = [[column, *(values[name][column] for name in classes)] for column in shown]
    title = look.inline(Text("Mean influence by class", "按类别的平均影响"))
    table = look.table(columns, rows, data=values)
    return Html(f"<details><summary>{title}</summary>{table}</details>")


def _dependence_sections(report: GlobalReport) -> list[Section]:
    """For the columns that matter most: their value against their contribution."""
    columns = report.dependence
    if not columns:
        return []
    label = look.join(Text("contribution, ", "贡献，"), scale_label(report))
    body = "".join(_dependence_plot(entry, label) for entry in columns)
    return [Section(Text("How single columns act", "单列如何起作用"), Html(body), id="columns")]


def _dependence_plot(entry: DependencePoints, label: Words) -> Html:
    name, pairs = entry.column, list(zip(entry.value, entry.attribution, strict=True))
    if entry.kind != "category":
        return _dependence_scatter(name, pairs, label, dates=entry.kind == "datetime")
    groups: dict[Words, list[tuple[float, float | None]]] = {}
    counts = Counter(_category_label(value) for value, _ in pairs)
    kept = {value for value, _ in counts.most_common(_MAX_CATEGORIES)}
    other = Text(f"{len(counts) - len(kept)} other values", f"其余 {len(counts) - len(kept)} 个取值")
    for value, moved in pairs:
        text = _category_label(value)
        groups.setdefault(text if text in kept else other, []).append((moved, None))
    order = sorted(groups, key=lambda value: -len(groups[value]))
    return figure(look.beeswarm, order, [groups[value] for value in order], title=name, label=label)


def _dependence_scatter(name: str, pairs: Sequence[tuple[Any, float]], label: Words, *, dates: bool) -> Html:
    """A dot for each value that has a place on the axis."""
    read = to_epoch_ms if dates else _float_or_none
    points = [(float(place), moved) for value, moved in pairs if (place := read(value)) is not None]
    left = len(pairs) - len(points)
    what = Text("date", "日期") if dates else Text("number", "数值")
    caption = Text(
        f"{left} row{' is' if left == 1 else 's are'} not shown: no {what.en} there.",
        f"有 {left} 行无{what.zh}，未显示。",
    )
    return figure(
        look.scatter, points, title=name, x_label=name, y_label=label, zero_line=True, dates=dates,
        caption=caption if left else "",
    )  # fmt: skip


def _float_or_none(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _category_label(value: Any) -> Words:
    return Text("missing", "缺失") if value is None else numbers.format_value(value)
