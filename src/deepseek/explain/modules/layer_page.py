"""The layer path as a page: the ledger, the margin after each layer, the strongest units and what they hand on.

layer_sections(explain_bundle_layers(...))                    sections of the report of a bundle
layer_path(net, rows).write_report("path.html")        a page of its own, of any torch module
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepseek import look
from deepseek.contracts import JsonObject
from deepseek.files import atomic_file
from deepseek.look import Column, Html, Section, Text, Words, flow, numbers
from deepseek.look.chinese.page_texts import in_both_languages
from deepseek.look.flow import Layer, Link, Unit

if TYPE_CHECKING:
    from deepseek.explain.modules.layer_records import BundleLayerPath, LayerPathRecord, LayerReport
    from deepseek.explain.modules.units import Edge

MAX_PATHS = 8  # rows that are drawn, of all parts together; the JSON has all
MAX_LAYERS = 24  # that are drawn: of more the first and the last, half each
_HOW_TO_READ = Text(
    "Each layer hands the change of the answer on to the next. A layer that the whole answer passes through has to "
    "carry all of it: its sum must be the change. The margin is the lead of the class explained after that layer.",
    "每一层把结果的变化传给下一层。整个结果都经过的层必须承载全部变化：其贡献之和应等于该变化。"
    "间隔是该层之后所解释类别的领先程度。",
)
_COLUMNS = [
    Column(Text("Layer", "层"), "text"),
    Column(Text("Kind", "类型"), "text"),
    Column(Text("Sum", "贡献之和")),
    Column(Text("Change", "结果变化")),
    Column(Text("Residual", "残差")),
    Column(Text("Balances", "是否相符"), "text"),
]


def layer_sections(paths: Sequence[BundleLayerPath], names: Sequence[str] = ()) -> list[Section]:
    """A section for each path; `names` are those of its rows."""
    sections = []
    for path in paths:
        part: Words = ""
        if path.part is not None:
            share = numbers.number(path.weight)
            part = Text(f" (part {path.part}, weight {share})", f"（第 {path.part} 部分，权重 {share}）")
        title = look.join(Text("Layer by layer", "逐层路径"), part)
        most = max(1, MAX_PATHS // len(paths))
        sections.append(Section(title, _path_html(path, names, most), id=f"layers-{path.part or 0}"))
    return sections


def write_layer_page(path: str | Path | None, layers: BundleLayerPath, *, title: Words = "", command: str = "") -> str:
    """A page of one layer path, written to `path` (None: only returned). `command` is what makes it again."""
    from deepseek.version import __version__

    origin: dict[Words, Words | Html] = {
        Text("Method", "方法"): in_both_languages(layers.path.method),
        Text("Why this one", "选用原因"): in_both_languages(layers.path.why),
        Text("Tolerance", "容差"): f"{layers.path.tolerance:g}",
        Text("Steps", "步数"): str(layers.path.num_steps),
        Text("Version", "版本"): f"deepseek {__version__}",
    }
    if command:
        origin[Text("Page made by", "本页生成命令")] = look.command(command)
    name = title or Text("A decision, layer by layer", "逐层决策路径")
    html = look.page(name, ledger_verdict(layers.path), layer_sections([layers]), provenance=origin, style=flow.STYLE)
    if path is not None:
        with atomic_file(Path(path)) as part:
            part.write_text(html, encoding="utf-8")
    return html


def ledger_verdict(path: LayerPathRecord) -> Text:
    """Whether the ledger balances, in one sentence."""
    judged = [line for line in path.ledger() if line.passes is not None]
    worst = max((line.relative or 0.0 for line in judged), default=0.0)
    share = numbers.number(100 * worst)
    wrong = next((line.layer for line in judged if not line.passes), None)
    if wrong is None:
        return Text(
            f"All {len(judged)} layers that carry the whole answer balance: they miss {share} % of its change at most.",
            f"承载全部结果的 {len(judged)} 层均相符：最多相差结果变化的 {share} %。",
        )
    return Text(
        f"The ledger does not balance at layer {wrong}: up to {share} % of the change is missing. Do not rely on this.",
        f"{wrong} 层不相符：最多相差结果变化的 {share} %。请勿依赖此解释。",
    )


def _path_html(layers: BundleLayerPath, names: Sequence[str], most: int) -> Html:
    """The verdict, the paths of at most `most` rows, the ledger and the notes."""
    path = layers.path
    verdict = look.verdict("good" if path.passes else "bad", ledger_verdict(path))
    parts = [look.bullet_list([verdict], plain=True), look.paragraph(_HOW_TO_READ, note=True)]
    if path.is_partial:
        late = Text("Partial: the time limit came before the error was small.", "不完整：在误差足够小之前已到时限。")
        parts.append(look.paragraph(look.verdict("warn", late)))
    num_rows = len(path.output)
    for row in range(min(num_rows, most)):
        title = _row_title(path, row, names[row] if row < len(names) else str(row))
        drawn = _path_figure(layers, row, title)
        if row:
            drawn = Html(f"<details><summary>{look.inline(title)}</summary>{drawn}</details>")
        parts.append(drawn)
    if num_rows > most:
        num_left = num_rows - most
        more = Text(f"{num_left} more rows are in the JSON.", f"其余 {num_left} 行见 JSON。")
        parts.append(look.paragraph(more, note=True))
    parts.append(_ledger_table(path))
    parts += [look.paragraph(in_both_languages(note), note=True) for note in path.notes]
    return Html("".join(parts))


def _row_title(path: LayerPathRecord, row: int, name: str) -> Words:
    base, output = numbers.number(float(path.base_value[row])), numbers.number(float(path.output[row]))
    title = Text(f"Row {name}: from {base} to {output}", f"第 {name} 行：从 {base} 到 {output}")
    decided = path.decided_at[row]
    return look.join(title, Text(f"; decided after {decided}", f"；在 {decided} 之后确定")) if decided else title


def _path_figure(layers: BundleLayerPath, row: int, title: Words) -> Html:
    """The layers of one row, their strongest units, and what these hand on."""
    path = layers.path
    edges = [edge for edge in path.edges if edge.row == row]
    drawn = _drawn_layers(path, edges)
    places = {layer.name: place for place, layer in enumerate(drawn)}
    links = [
        Link(
            places[edge.source], _unit_label(layers, drawn[places[edge.source]], edge.source_unit),
            _unit_label(layers, drawn[places[edge.target]], edge.target_unit), edge.value, to=places[edge.target],
        )
        for edge in edges
        if edge.source in places and edge.target in places
    ]  # fmt: skip
    caption: Words = flow.LEGEND
    num_hidden = len(path.layers) - len(drawn)
    if num_hidden:
        hidden = Text(f" {num_hidden} more layers are in the ledger.", f" 另有 {num_hidden} 层见账目。")
        caption = look.join(caption, hidden)
    data = {"layers": [_row_data(layer, row) for layer in drawn], "edges": [asdict(edge) for edge in edges]}
    flow_layers = [_flow_layer(layers, layer, row, edges) for layer in drawn]
    return look.figure(flow.flow, flow_layers, links, title=title, caption=caption, data=data)


def _drawn_layers(path: LayerPathRecord, edges: Sequence[Edge]) -> Sequence[LayerReport]:
    """The layers of a drawing: all, or those alone between which there are edges, and MAX_LAYERS at most."""
    ends = {end for edge in edges for end in (edge.source, edge.target)}
    layers = [layer for layer in path.layers if not ends or layer.name in ends]
    return layers if len(layers) <= MAX_LAYERS else [*layers[: MAX_LAYERS // 2], *layers[-MAX_LAYERS // 2 :]]


def _row_data(layer: LayerReport, row: int) -> JsonObject:
    """What the drawing shows of a layer, as JSON."""
    return {
        "layer": layer.name, "sum": float(layer.sum[row]),
        "units": [{"unit": unit, "value": value} for unit, value in layer.units[row]],
        "margin": None if layer.margin is None else float(layer.margin[row]),
    }  # fmt: skip


def _flow_layer(layers: BundleLayerPath, layer: LayerReport, row: int, edges: Sequence[Edge]) -> Layer:
    """Its strongest units, and behind them those that only hand on."""
    values: dict[int, float | None] = dict(layer.units[row])
    for edge in edges:
        for end, unit in ((edge.source, edge.source_unit), (edge.target, edge.target_unit)):
            if end == layer.name:
                values.setdefault(unit, None)
    units = [Unit(_unit_label(layers, layer, unit), value) for unit, value in list(values.items())[: flow.MAX_UNITS]]
    note: Words = ""
    if layer.margin is not None:
        margin = numbers.signed_number(float(layer.margin[row]))
        note = Text(f"margin {margin}", f"间隔 {margin}")
    is_final = layers.path.decided_at[row] == layer.name
    return Layer(layer.name, units, note, Text("decided here", "在此确定") if is_final else "")


def _unit_label(layers: BundleLayerPath, layer: LayerReport, unit: int) -> str:
    """Of the input the column behind it; columns that have several places are numbered by them."""
    columns = layers.columns
    if layer.kind != "input" or unit >= len(columns):
        return f"{layer.unit_name} {unit}" if layer.unit_name in {"head", "channel"} else str(unit)
    column = columns[unit]
    return column if columns.count(column) == 1 else f"{column} ({columns[:unit].count(column) + 1})"


def _ledger_table(path: LayerPathRecord) -> Html:
    rows: list[list[Any]] = []
    for line in path.ledger():
        if line.passes is None:
            away = numbers.signed_number(line.bypassed)
            verdict: Words | Html = Text(f"a branch: {away} passes it by", f"分支：{away} 从旁经过")
        else:
            words = Text("yes", "是") if line.passes else Text("no", "否")
            verdict = look.verdict("good" if line.passes else "bad", words)
        residual = numbers.UNKNOWN if line.residual is None else numbers.signed_number(line.residual)
        sums = (numbers.signed_number(line.sum), numbers.signed_number(line.change), residual)
        rows.append([line.layer, line.kind, *sums, verdict])
    several = len(path.output) > 1
    caption = Text("Of each layer the row that misses by the most.", "每层取残差最大的一行。") if several else ""
    method, why = in_both_languages(path.method), in_both_languages(path.why)
    rule = Text(f"Rule: {method.en}. Why: {why.en}.", f"规则：{method.zh}。原因：{why.zh}。")
    return Html(
        f"<h3>{look.inline(Text('The ledger', '账目'))}</h3>{look.table(_COLUMNS, rows, caption=caption)}"
        + look.paragraph(rule, note=True)
    )
