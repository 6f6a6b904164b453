"""The page of a regulation's checklist: what was found, what a person has to look at, and every line with its
clause, to
be accepted, edited or struck; its button saves the lines as the TOML file that `deepseek recipe compliance` reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from deepseek import look
from deepseek.citations.provisions.provision import KINDS
from deepseek.look import Column, Html, Section, Text, Words
from deepseek.look.tables import Cell
from deepseek.recipes.checklist.lines import RuleLine
from deepseek.recipes.checklist.run import RegulationChecklist
from deepseek.version import __version__

KIND_NAMES = {
    "obligation": Text("Obligation", "义务"), "prohibition": Text("Prohibition", "禁止"),
    "permission": Text("Permission", "许可"), "deadline": Text("Deadline", "期限"),
    "threshold": Text("Threshold", "限额"), "penalty": Text("Penalty", "处罚"),
}  # fmt: skip
STATUS_NAMES = {
    "accepted": Text("Accept", "采用"), "proposed": Text("Open", "待定"), "struck": Text("Strike", "删去"),
}  # fmt: skip
RISK_NAMES = {"high": Text("high", "高"), "medium": Text("medium", "中"), "low": Text("low", "低")}
STYLE = """
article.line{border-top:1px solid var(--rule);padding:16px 0 12px}
article.line h3{display:flex;flex-wrap:wrap;gap:4px 12px;align-items:baseline;margin:0 0 4px;font-size:1rem}
article.line h3 .id{color:var(--soft);font-weight:400}
article.line blockquote{margin:4px 0 8px;padding-left:12px;border-left:3px solid var(--accent)}
article.line dl{margin:0 0 8px}
article.line p.ask{margin:0 0 4px}
article.line .edit{display:grid;gap:8px;margin:0}
article.line label{display:flex;flex-direction:column;font-size:14px;color:var(--soft)}
article.line textarea,article.line select{font:inherit;color:var(--ink);background:transparent;
border:1px solid var(--soft);border-radius:4px;padding:4px 8px;max-width:100%}
article.line fieldset{border:0;padding:0;margin:4px 0 8px;display:flex;flex-wrap:wrap;gap:4px 16px}
article.line fieldset label{flex-direction:row;gap:6px;align-items:center;color:var(--ink)}
article.line[data-status=struck] blockquote{text-decoration:line-through;color:var(--soft)}
.save{position:sticky;bottom:0;background:var(--ground);padding:12px 0;display:flex;flex-wrap:wrap;gap:8px 16px;
align-items:center;border-top:1px solid var(--rule)}
.save button{font:inherit;cursor:pointer;color:var(--ground);background:var(--accent);border:1px solid var(--accent);
border-radius:4px;padding:4px 12px}
.save button.quiet{color:var(--ink);background:transparent;border-color:var(--soft)}
@media print{.save,article.line fieldset,article.line details{display:none}}
"""
SCRIPT = """
(function(){
var order=ORDER,lines=Array.from(document.querySelectorAll("article.line"));
function quote(text){return JSON.stringify(text).replace(/\\u007f/g,"\\\\u007f")}
function read(part){
var line=JSON.parse(part.dataset.line);
part.querySelectorAll("[data-field]").forEach(function(field){line[field.dataset.field]=field.value.trim()});
var chosen=part.querySelector("fieldset input:checked");
if(chosen)line.status=chosen.value;
return line;
}
function toml(){
var parts=["[checklist]\\nname = "+quote(document.querySelector(".save").dataset.name)+"\\n"];
lines.forEach(function(part){
var line=read(part);
parts.push("[[line]]\\n"+order.filter(function(key){return line[key]}).map(function(key){
return key+" = "+quote(line[key])}).join("\\n")+"\\n");
});
return parts.join("\\n");
}
function count(){
var counts={accepted:0,proposed:0,struck:0};
lines.forEach(function(part){var status=read(part).status;counts[status]+=1;part.dataset.status=status});
Object.keys(counts).forEach(function(key){
document.querySelectorAll(".save ."+key).forEach(function(place){place.textContent=counts[key]})});
}
document.addEventListener("change",count);
document.querySelector(".save .act").addEventListener("click",function(){
var link=document.createElement("a");
link.href=URL.createObjectURL(new Blob([toml()],{type:"application/toml"}));
link.download="checklist.toml";document.body.appendChild(link);link.click();link.remove();
});
document.querySelector(".save .quiet").addEventListener("click",function(){
lines.forEach(function(part){
var line=read(part),binds=line.kind==="obligation"||line.kind==="prohibition";
if(line.status==="proposed"&&binds&&part.dataset.by==="words")part.querySelector("input[value=accepted]").checked=true});
count();
});
count();
})();
"""


def render_page(result: RegulationChecklist) -> str:
    """The page, as a file."""
    sections = [Section(Text("What was found", "提取结果"), _counts(result), id="counts")]
    if attention := _attention(result):
        sections.append(Section(Text("Look at these first", "请先查看"), attention, id="attention"))
    if result.comparison is not None:
        sections.append(Section(Text("What has changed", "变更"), _changes(result), id="changes"))
    sections.append(Section(Text("Every line", "全部条目"), _lines(result), id="lines"))
    order = ["id", "title", "text", "expect", "risk", "status", "kind", "source", "quote", "subject", "condition",
             "deadline", "evidence", "question", "note"]  # fmt: skip
    return look.page(
        Text(f"Checklist of {result.name}", f"{result.name}：检查清单"), _answer(result), sections, lead=_lead(result),
        provenance=_provenance(result), style=STYLE, script=SCRIPT.replace("ORDER", json.dumps(order)),
    )  # fmt: skip


def _answer(result: RegulationChecklist) -> Text:
    duties, bans = result.count("obligation"), result.count("prohibition")
    return Text(
        f"{result.source} lays down {duties} obligations and {bans} prohibitions, in {len(result.lines)} lines in all.",
        f"{result.source} 共规定 {duties} 项义务、{bans} 项禁止，合计 {len(result.lines)} 条。",
    )


def _lead(result: RegulationChecklist) -> Text:
    model = result.num_by_model
    return Text(
        f"Words such as must, may not and shall decided {len(result.lines) - model} of them, the model {model}."
        " Accept, edit or strike each line, then save: deepseek recipe compliance asks accepted lines alone.",
        f"其中 {len(result.lines) - model} 条由“应当”“不得”等词语判定，{model} 条由模型判定。"
        "请逐条采用、修改或删去后保存：deepseek recipe compliance 只检查已采用的条目。",
    )


def _counts(result: RegulationChecklist) -> Html:
    rows: list[list[Cell]] = [[KIND_NAMES[kind], result.count(kind)] for kind in KINDS]
    note = Text(
        f"{result.num_silent} of {result.num_clauses} clauses lay down nothing.",
        f"{result.num_clauses} 个条款中有 {result.num_silent} 个没有规定。",
    )
    columns = [Column(Text("Kind", "类别"), "text"), Column(Text("Lines", "条数"))]
    return Html(look.table(columns, rows) + look.paragraph(note, note=True))


def _attention(result: RegulationChecklist) -> Html:
    items: list[Words | Html] = [
        Text(
            f"{each.first} and {each.second} contradict each other: {each.why}. Strike or correct one.",
            f"{each.first} 与 {each.second} 相互矛盾：{each.why}。请删去或更正其一。",
        )
        for each in result.contradictions
    ]
    if by_model := [line.id for line in result.lines if line.is_by_model]:
        names = ", ".join(by_model)
        items.append(Text(
            f"No signal word says that these are duties, the model takes them for it: {names}.",
            f"下列条目没有义务词语，由模型判定：{names}。",
        ))  # fmt: skip
    if result.unresolved:
        names = ", ".join(result.unresolved)
        items.append(Text(f"Named, and not in this document: {names}.", f"文中引用而本文件没有的条款：{names}。"))
    return look.bullet_list(items) if items else Html("")


def _changes(result: RegulationChecklist) -> Html:
    comparison = result.comparison
    if comparison is None:
        return Html("")
    facts: dict[Words, Cell] = {
        Text("Unchanged, as decided before", "未变，沿用原决定"): len(comparison.unchanged),
        Text("Changed, to be decided again", "已变，需重新决定"): len(comparison.changed),
        Text("New", "新增"): len(comparison.new), Text("Removed", "删除"): len(comparison.removed),
    }  # fmt: skip
    rows: list[list[Cell]] = [[each.id, each.before, each.after] for each in comparison.changed]
    rows += [[line.id, line.quote, Text("no longer there", "已删除")] for line in comparison.removed]
    columns = [
        Column(Text("Line", "条目"), "text"),
        Column(Text("Was", "原文"), "text"),
        Column(Text("Is", "现文"), "text"),
    ]
    return Html(look.facts(facts) + (look.table(columns, rows) if rows else ""))


def _lines(result: RegulationChecklist) -> Html:
    cards = "".join(_card(line) for line in result.lines)
    save, accept = (
        Text("Save as TOML", "保存为 TOML"),
        Text("Accept duties that words decided", "采用由词语判定的义务和禁止"),
    )
    counts = " · ".join(
        f'{look.inline(label)} <span class="{name}">0</span>'
        for name, label in (
            ("accepted", Text("accepted", "采用")), ("proposed", Text("open", "待定")), ("struck", Text("struck",
            "删去")),
        )
    )  # fmt: skip
    return Html(
        f'{cards}<div class="save" data-name="{look.escape(result.name)}"><button type="button" class="act">'
        f'{look.inline(save)}</button><button type="button" class="quiet">{look.inline(accept)}</button>'
        f"<span>{counts}</span></div>"
    )


def _card(line: RuleLine) -> str:
    by_model = line.is_by_model
    data = look.escape(json.dumps(line.to_dict(), ensure_ascii=False))
    facts: dict[Words, Cell] = {
        Text("Subject", "主体"): line.subject or Text("not named", "未写明"),
        Text("Condition", "条件"): line.condition or Text("none", "无"),
    }
    if line.deadline:
        facts[Text("Deadline", "期限")] = line.deadline
    facts |= {Text("Evidence", "证据"): line.evidence, Text("Note", "说明"): line.note}
    mark = look.verdict("warn", Text("model", "模型判定")) if by_model else ""
    where = f'<span class="id">{look.escape(line.source)} · {look.escape(line.id)}</span>'
    return (
        f'<article class="line" id="{look.escape(line.id)}" data-by="{"model" if by_model else "words"}"'
        f' data-status="{line.status}" data-line="{data}">'
        f"<h3>{look.inline(KIND_NAMES[line.kind])}{where}{mark}</h3><blockquote>{_quote_html(line.quote)}</blockquote>"
        f'<p class="ask">{look.escape(line.question)}</p>{_choices(line)}'
        f"<details><summary>{look.inline(Text('Detail and edit', '详情与修改'))}</summary>{look.facts(facts)}"
        f"{_fields(line)}</details></article>"
    )


def _quote_html(quote: str) -> str:
    return "<br>".join(look.escape(part) for part in quote.splitlines())


def _choices(line: RuleLine) -> str:
    choices = "".join(
        f'<label><input type="radio" name="{look.escape(line.id)}" value="{status}"'
        f"{' checked' if status == line.status else ''}>{look.inline(label)}</label>"
        for status, label in STATUS_NAMES.items()
    )
    return f"<fieldset>{choices}</fieldset>"


def _fields(line: RuleLine) -> str:
    areas = (
        ("text", Text("What is looked for", "检查内容"), line.text), ("question", Text("Question", "问题"),
        line.question),
        ("evidence", Text("Evidence", "证据"), line.evidence),
    )  # fmt: skip
    parts = [
        f'<label>{look.inline(label)}<textarea data-field="{name}" rows="2">{look.escape(value)}</textarea></label>'
        for name, label, value in areas
    ]
    options: Sequence[tuple[str, str, Mapping[str, Text], Text]] = (
        ("risk", line.risk, RISK_NAMES, Text("Risk", "风险")),
        ("expect", line.expect, {"present": Text("must be there", "应当存在"), "absent": Text("must not be there",
        "不得存在")},
         Text("In a document", "在文件中")),
    )  # fmt: skip
    for name, value, words, label in options:
        choices = "".join(
            f'<option value="{key}"{" selected" if key == value else ""}>{text.en} · {text.zh}</option>'
            for key, text in words.items()
        )
        parts.append(f'<label>{look.inline(label)}<select data-field="{name}">{choices}</select></label>')
    return f'<div class="edit">{"".join(parts)}</div>'


def _provenance(result: RegulationChecklist) -> Mapping[Words, Words | Html]:
    rows: dict[Words, Words | Html] = {
        Text("Regulation", "法规文件"): result.source, Text("Clauses", "条款数"): str(result.num_clauses),
        Text("Made with", "生成工具"): f"deepseek {__version__}",
    }  # fmt: skip
    if result.options.command:
        rows[Text("Made by", "生成命令")] = look.command(result.options.command)
    return rows
