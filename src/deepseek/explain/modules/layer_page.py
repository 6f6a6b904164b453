"""The layer path as a page: the ledger, the margin after each layer, the strongest units and what they hand on.

    layer_sections(explain_bundle_layers(...))                    sections of the report of a bundle
    write_layer_page("path.html", layer_path(net, rows))         a page of its own, of any torch module

Reads LayerPath.to_dict(); of a bundle's perceptron also "part", "weight" and "columns", which name the input's places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deepseek import look
from deepseek.files import atomic_file
from deepseek.look import Column, Html, Section, Text, Words, flow, numbers
from deepseek.look.flow import Layer, Link, Unit

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


def layer_sections(paths: Sequence[Mapping[str, Any]], names: Sequence[str] = ()) -> list[Section]:
    """A section for each path; `names` are those of its rows."""
    found = []
    for path in paths:
        part: Words = ""
        if "part" in path:
            share = numbers.number(path["weight"])
            part = Text(f" (part {path['part']}, weight {share})", f"（第 {path['part']} 部分，权重 {share}）")
        title = look.join(Text("Layer by layer", "逐层路径"), part)
        most = max(1, MAX_PATHS // len(paths))
        found.append(Section(title, _path_html(path, names, most), id=f"layers-{path.get('part', 0)}"))
    return found


def write_layer_page(path: str | Path | None, found: Mapping[str, Any], *, title: Words = "", command: str = "") -> str:
    """A page of one LayerPath.to_dict(), in which "columns" may name the input's places."""
    from deepseek.version import __version__

    origin: dict[Words, Words | Html] = {
        Text("Method", "方法"): found["method"],
        Text("Why this one", "选用原因"): found["why"],
        Text("Tolerance", "容差"): f"{found['tolerance']:g}",
        Text("Steps", "步数"): str(found["num_steps"]),
        Text("Version", "版本"): f"deepseek {__version__}",
    }
    if command:
        origin[Text("Page made by", "本页生成命令")] = look.command(command)
    name = title or Text("A decision, layer by layer", "逐层决策路径")
    html = look.page(name, ledger_verdict(found), layer_sections([found]), provenance=origin, style=flow.STYLE)
    if path is not None:
        with atomic_file(Path(path)) as part:
            part.write_text(html, encoding="utf-8")
    return html


def ledger_verdict(path: Mapping[str, Any]) -> Text:
    """Whether the ledger balances, in one sentence."""
    judged = [line for line in path["ledger"] if line["passes"] is not None]
    worst = max((line["relative"] for line in judged), default=0.0)
    share = numbers.number(100 * worst)
    if path["passes"]:
        return Text(
            f"All {len(judged)} layers that carry the whole answer balance: they miss {share} % of its change at most.",
            f"承载全部结果的 {len(judged)} 层均相符：最多相差结果变化的 {share} %。",
        )
    wrong = next(line["layer"] for line in judged if not line["passes"])
    return Text(
        f"The ledger does not balance at layer {wrong}: up to {share} % of the change is missing. Do not rely on this.",
        f"{wrong} 层不相符：最多相差结果变化的 {share} %。请勿依赖此解释。",
    )


def _path_html(path: Mapping[str, Any], names: Sequence[str], most: int) -> Html:
    verdict = look.verdict("good" if path["passes"] else "bad", ledger_verdict(path))
    parts = [look.bullet_list([verdict], plain=True), look.paragraph(_HOW_TO_READ, note=True)]
    if path.get("is_partial"):
        late = Text("Partial: the time limit came before the error was small.", "不完整：在误差足够小之前已到时限。")
        parts.append(look.paragraph(look.verdict("warn", late)))
    shown = min(len(path["output"]), most)
    for row in range(shown):
        name = names[row] if row < len(names) else str(row)
        title = _row_title(path, row, name)
        drawn = _path_figure(path, row, title)
        if row:
            drawn = Html(f"<details><summary>{look.inline(title)}</summary>{drawn}</details>")
        parts.append(drawn)
    left = len(path["output"]) - shown
    if left:
        more = Text(f"{left} more rows are in the JSON.", f"其余 {left} 行见 JSON。")
        parts.append(look.paragraph(more, note=True))
    parts.append(_ledger_table(path))
    parts += [look.paragraph(str(note), note=True) for note in path["notes"]]
    return Html("".join(parts))


def _row_title(path: Mapping[str, Any], row: int, name: str) -> Words:
    base, output = numbers.number(path["base_value"][row]), numbers.number(path["output"][row])
    said = Text(f"Row {name}: from {base} to {output}", f"第 {name} 行：从 {base} 到 {output}")
    decided = path["decided_at"][row]
    return look.join(said, Text(f"; decided after {decided}", f"；在 {decided} 之后确定")) if decided else said


def _path_figure(path: Mapping[str, Any], row: int, title: Words) -> Html:
    edges = [edge for edge in path["edges"] if edge["row"] == row]
    places = _drawn_layers(path, edges)
    names = {path["layers"][place]["layer"]: at for at, place in enumerate(places)}
    layers = [_flow_layer(path, place, row, edges) for place in places]
    links = [
        Link(
            names[edge["source"]], _unit_label(path, path["layers"][places[names[edge["source"]]]],
            edge["source_unit"]),
            _unit_label(path, path["layers"][places[names[edge["target"]]]], edge["target_unit"]), edge["value"],
            to=names[edge["target"]],
        )
        for edge in edges
        if edge["source"] in names and edge["target"] in names
    ]  # fmt: skip
    caption: Words = flow.LEGEND
    hidden = len(path["layers"]) - len(places)
    if hidden:
        gone = Text(f" {hidden} more layers are in the ledger.", f" 另有 {hidden} 层见账目。")
        caption = look.join(caption, gone)
    data = {"layers": [_row_data(path["layers"][place], row) for place in places], "edges": edges}
    return look.figure(flow.flow, layers, links, title=title, caption=caption, data=data)


def _drawn_layers(path: Mapping[str, Any], edges: Sequence[Mapping[str, Any]]) -> list[int]:
    """Places of the layers of a drawing: all, or those alone between which there are edges, and MAX_LAYERS at most."""
    ends = {edge[end] for edge in edges for end in ("source", "target")}
    places = [place for place, layer in enumerate(path["layers"]) if not ends or layer["layer"] in ends]
    return places if len(places) <= MAX_LAYERS else [*places[: MAX_LAYERS // 2], *places[-MAX_LAYERS // 2 :]]


def _row_data(layer: Mapping[str, Any], row: int) -> dict[str, Any]:
    margin = layer["margin"]
    return {
        "layer": layer["layer"], "sum": layer["sum"][row], "units": layer["units"][row],
        "margin": margin and margin[row],
    }  # fmt: skip


def _flow_layer(path: Mapping[str, Any], place: int, row: int, edges: Sequence[Mapping[str, Any]]) -> Layer:
    """Its strongest units, and behind them those that only hand on."""
    layer = path["layers"][place]
    values: dict[int, float | None] = {one["unit"]: one["value"] for one in layer["units"][row]}
    for edge in edges:
        for end in ("source", "target"):
            if edge[end] == layer["layer"]:
                values.setdefault(edge[f"{end}_unit"], None)
    units = [Unit(_unit_label(path, layer, unit), value) for unit, value in list(values.items())[: flow.MAX_UNITS]]
    note: Words = ""
    if layer["margin"] is not None:
        margin = numbers.signed_number(layer["margin"][row])
        note = Text(f"margin {margin}", f"间隔 {margin}")
    is_final = path["decided_at"][row] == layer["layer"]
    return Layer(layer["layer"], units, note, Text("decided here", "在此确定") if is_final else "")


def _unit_label(path: Mapping[str, Any], layer: Mapping[str, Any], unit: int) -> str:
    """Of the input the column behind it; columns that have several places are numbered by them."""
    columns = path.get("columns") or ()
    if layer["kind"] != "input" or unit >= len(columns):
        return f"{layer['unit_name']} {unit}" if layer["unit_name"] in {"head", "channel"} else str(unit)
    column = columns[unit]
    return column if columns.count(column) == 1 else f"{column} ({columns[:unit].count(column) + 1})"


def _ledger_table(path: Mapping[str, Any]) -> Html:
    rows: list[list[Any]] = []
    for line in path["ledger"]:
        if line["passes"] is None:
            away = numbers.signed_number(line["bypassed"])
            found: Words | Html = Text(f"a branch: {away} passes it by", f"分支：{away} 从旁经过")
        else:
            words = Text("yes", "是") if line["passes"] else Text("no", "否")
            found = look.verdict("good" if line["passes"] else "bad", words)
        residual = numbers.UNKNOWN if line["residual"] is None else numbers.signed_number(line["residual"])
        sums = (numbers.signed_number(line["sum"]), numbers.signed_number(line["change"]), residual)
        rows.append([line["layer"], line["kind"], *sums, found])
    several = len(path["output"]) > 1
    caption = Text("Of each layer the row that misses by the most.", "每层取残差最大的一行。") if several else ""
    return Html(
        f"<h3>{look.inline(Text('The ledger', '账目'))}</h3>{look.table(_COLUMNS, rows, caption=caption)}"
        + look.paragraph(Text(f"Rule: {path['method']}. Why: {path['why']}.", f"规则：{path['method']}。"), note=True)
    )
