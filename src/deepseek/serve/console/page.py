"""The console at `/` and the API reference at `/docs`, as whole pages without a request to anywhere else.

The console's script asks /v1/models and /v1/stats every 2 s, and /v1/history, /v1/drift and /v1/running every 10 s; its
form is made from /v1/models/M and filled in from /v1/models/M/example. Answers it expects of /v1/stats:

    {"uptime_s": 61.0, "window_s": 61.0, "models": [{"name", "version", "num_requests", "num_errors", "requests_per_s",
      "latency_p50_s", "latency_p99_s", "slot_s", "history": [{"requests_per_s", "p50_s", "p99_s"}],
      "latency": {"predict" and "explain": {"num_requests", "p50_s", "p99_s", "history"}}}],
     "processes": {"engine_died", "engine_restarted", "front_end_died", "front_end_restarted", "out_of_files"}}
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from deepseek import look
from deepseek.look import Column, Html, Section, Text, inline, saliency
from deepseek.serve.console.chinese import in_both_languages
from deepseek.serve.openapi.parts import Schema

_METHODS = ("get", "post", "put", "patch", "delete")
_MAX_FIELDS = 12  # of an object in a table; the others stand in the schema beneath

# The commands of /docs get the address of the browser: behind a proxy the server does not know its own.
DOCS_SCRIPT = r"""
for (const line of document.querySelectorAll("pre.command code")) {
  line.textContent = line.textContent.replace(/^curl http:\/\/[^/]+/, () => `curl ${location.origin}`);
}
"""

STYLE = """
.fields{display:grid;grid-template-columns:repeat(auto-fill,minmax(192px,1fr));gap:12px 20px;margin:12px 0}
.field label{display:block;font-size:14px;color:var(--soft);overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.field input,.field select,.row select,.row input{font:inherit;font-size:15px;width:100%;padding:5px 8px;
color:var(--ink);background:var(--ground);border:1px solid var(--axis);border-radius:4px;
font-variant-numeric:tabular-nums}
.row select,.row input{width:auto;min-width:200px;max-width:100%}
.field:has(textarea){grid-column:1/-1}.field textarea{max-width:100%}.field .soft{font-size:14px}
.field [aria-invalid]{border-color:var(--bad);outline:1px solid var(--bad)}
.row{display:flex;flex-wrap:wrap;gap:12px;align-items:center;margin:16px 0}
button.act{font:inherit;font-size:15px;padding:6px 18px;border-radius:4px;border:1px solid var(--accent);cursor:pointer;
background:var(--ground);color:var(--accent)}
button.act.main{background:var(--accent);color:var(--ground)}
button.act.plain{border-color:transparent;color:var(--soft);padding:6px 8px}
[aria-busy=true] button.act{opacity:.6}
.spark{display:block;margin-top:4px}.spark svg{margin-left:auto}.spark svg.plot text.tick{font-size:11px}
.lines>span{display:block}
.preview img{display:block;max-width:100%;max-height:240px;min-height:64px;margin-top:8px}
.regions{display:flex;flex-wrap:wrap;gap:16px}
.field:has(input[type=file]){grid-column:1/-1}.field .row{margin:4px 0}
.field input.covered{position:absolute;width:1px;height:1px;padding:0;border:0;opacity:0}
.field label.file{padding:5px 14px;border:1px solid var(--accent);border-radius:4px;color:var(--accent);cursor:pointer}
.field input.covered:focus-visible+label.file{outline:2px solid var(--accent);outline-offset:2px}
td.state-of{white-space:nowrap}
#joined{max-width:72ch}
#models th.num{white-space:nowrap}
#models tbody th[scope=row]{min-width:6em}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(356px,100%),1fr));gap:8px 24px}
.plots figure{margin:8px 0;min-width:0}.plots h3{font-size:15px;margin:8px 0}
details.alert{margin:8px 0}details.alert summary{cursor:pointer}details.alert>:not(summary){margin-left:24px}
[hidden]{display:none!important}
@media (max-width:600px){
:is(#models,#versions) thead{display:none}
:is(#models,#versions) :is(table,tbody,tr){display:block;min-width:0}
:is(#models,#versions) tr{padding:8px 0;border-bottom:1px solid var(--rule)}
:is(#models,#versions) tr>*{display:flex;justify-content:space-between;gap:12px;padding:2px 0;border:0}
:is(#models,#versions) td::before{content:attr(data-en);color:var(--soft);text-align:left;margin-right:auto;order:-2}
[data-lang=zh] :is(#models,#versions) td::before{content:attr(data-zh)}
#models .spark{order:-1;margin:0}#models td .lines{text-align:right}
:is(#models,#versions) tr>th{justify-content:flex-start;max-width:none;font-weight:600}
}
td svg.plot{margin:6px 0}
.method{font-family:ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:14px;color:var(--soft)}
"""
#: Of the console alone, whose script says when its first answer is there: the parts below would jump before.
UNTIL_READY = "main:not([data-ready]) section~section{visibility:hidden}\n"


@cache
def console_script() -> str:
    """The JavaScript of the console: drawing, words, form, answer, page."""
    folder = files("deepseek.serve.console")
    names = (
        "console_draw.js", "console_words.js", "console_picture.js", "console_form.js", "console_result.js",
        "console_repository.js", "console_history.js", "console.js",
    )  # fmt: skip
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in names)


@cache
def console_page() -> str:
    """The console: which models are served, how they do, and a form to try a row."""
    loading_text = Text("Asking the server …", "正在询问服务器……")
    models = '<div id="models" class="scroll" tabindex="0" hidden></div><div id="note" aria-live="polite"></div>'
    script_off = Text("This page needs JavaScript. Without it, ask ", "本页需要 JavaScript；也可直接访问 ")
    models += f"<noscript><p>{inline(script_off)}<code>GET /v1/models</code></p></noscript>{_key_form()}"
    versions = '<div id="versions" class="scroll" tabindex="0"></div>'
    docs = Text("API reference", "接口文档")
    metrics = Text("Metrics for Prometheus", "Prometheus 指标")
    links = f'<span id="links"><a href="/docs">{inline(docs)}</a> · <a href="/metrics">{inline(metrics)}</a></span>'
    return look.page(
        Text("Model server", "模型服务"),
        loading_text,
        [
            Section(Text("Models", "模型"), Html(models)),
            Section(Text("The last hours", "最近几小时"), Html('<div id="hours"></div>'), id="history"),
            Section(Text("Drift of the inputs", "输入漂移"), Html('<div id="inputs"></div>'), id="drift"),
            Section(Text("Running on this machine", "本机上运行的内容"), Html('<div id="others"></div>'), id="running"),
            Section(Text("Repository", "模型仓库"), Html(versions), id="repository"),
            Section(Text("Try a row", "试一行数据"), _row_form(), id="try"),
        ],
        lead=Html(links),
        style=STYLE + UNTIL_READY + saliency.STYLE,
        script=console_script(),
        connect=True,
    )


def _key_form() -> str:
    title, ask = Text("API key", "API 密钥"), Text("Use this key", "使用此密钥")
    note = Text("It stays in this page and is forgotten on reload.", "密钥只保存在本页，刷新后即清除。")
    return (
        f'<form id="key" hidden><p class="row"><label for="key-text">{inline(title)}</label>'
        '<input id="key-text" type="password" autocomplete="off">'
        f'<button class="act main" type="submit">{inline(ask)}</button></p><p class="note">{inline(note)}</p></form>'
    )


def _row_form() -> Html:
    words = {
        "model": Text("Model", "模型"),
        "predict": Text("Predict", "预测"),
        "explain": Text("Predict and explain", "预测并解释"),
        "reset": Text("Back to the example", "恢复示例"),
        "note": Text(
            "A typical row is filled in. Change a value; an empty field counts as missing.",
            "已填入一行典型数据。可修改取值；留空表示缺失。",
        ),
    }
    label = {name: inline(text) for name, text in words.items()}
    return Html(
        f'<p class="note">{label["note"]}</p><form id="form" novalidate>'
        f'<p class="row" id="picker" hidden><label for="model">{label["model"]}</label><select id="model"></select></p>'
        '<div id="decision"></div><div class="fields" id="fields"></div><div id="more"></div><p class="row">'
        f'<button class="act main" type="submit" value="predict">{label["predict"]}</button>'
        f'<button class="act" id="explain" type="submit" value="explain">{label["explain"]}</button>'
        f'<button class="act plain" type="button" id="reset">{label["reset"]}</button></p></form>'
        '<div id="result" aria-live="polite"></div>'
    )


def docs_page(openapi: Schema) -> str:
    """The API reference of an OpenAPI 3 document: routes, bodies with examples, errors."""
    info = openapi.get("info", {})
    operations = list(_iter_operations(openapi))
    routes: list[list[look.Words]] = [
        [
            Html(f'<a href="#{_anchor(method, path)}">{inline(path)}</a>'),
            method.upper(),
            in_both_languages(operation.get("summary", "")),
        ]
        for method, path, operation in operations
    ]
    heads = (Text("Route", "路径"), Text("Method", "方法"), Text("What it gives", "说明"))
    columns = [Column(head, "text") for head in heads]
    title = Text("API reference", "接口文档")
    num = len(operations)
    answer = Text(f"{num} routes; bodies and answers are JSON.", f"共 {num} 个接口；请求与响应均为 JSON。")
    sections = [Section(Text("Routes", "接口"), look.table(columns, routes)), _error_section(operations)]
    sections += [_operation_section(openapi, *operation) for operation in operations]
    document = Html('<a href="/openapi.json">/openapi.json</a>')
    origin: dict[look.Words, look.Words | Html] = {
        Text("server", "服务"): f"{info.get('title', '')} {info.get('version', '')}",
        "OpenAPI": document,
    }
    home = Html(f'<a href="/">{inline(Text("Console", "控制台"))}</a>')
    return look.page(title, answer, sections, provenance=origin, lead=home, script=DOCS_SCRIPT)


def _iter_operations(openapi: Schema) -> Iterator[tuple[str, str, Schema]]:
    for path, item in openapi.get("paths", {}).items():
        for method in _METHODS:
            if method in item:
                yield method, path, item[method]


def _anchor(method: str, path: str) -> str:
    return look.escape(method + "".join(letter if letter.isalnum() else "-" for letter in path))


def _operation_section(openapi: Schema, method: str, path: str, operation: Schema) -> Section:
    """The section of one operation: its description, a curl command, its parameters, body and response."""
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    response = operation.get("responses", {}).get("200", {}).get("content", {}).get("application/json", {})
    parts = [
        *(
            look.paragraph(in_both_languages(operation[part]))
            for part in ("summary", "description")
            if operation.get(part)
        ),
        look.command(_curl_command(method, path, body.get("example"))),
    ]
    parameters: list[list[look.Words]] = [
        [
            entry["name"],
            look.join(f"{entry['in']}: ", _type_text(entry.get("schema", {}))),
            _yes_or_no(entry.get("required", False)),
        ]
        for entry in operation.get("parameters", [])
    ]
    if parameters:
        parts.append(Html(f"<h3>{inline(Text('Parameters', '参数'))}</h3>{_field_table(parameters)}"))
    for title, schema in (
        (Text("Body", "请求体"), body.get("schema")),
        (Text("Answer", "响应"), response.get("schema")),
    ):
        if schema:
            tables = [_field_table(list(_iter_fields(openapi, form, ""))) for form in schema.get("oneOf", [schema])]
            forms = look.paragraph(Text("or", "或者")).join(tables)
            parts.append(Html(f"<h3>{inline(title)}</h3>{forms}{look.as_json(schema, Text('Schema', '模式'))}"))
    return Section(f"{method.upper()} {path}", Html("".join(parts)), folded=True, id=_anchor(method, path))


def _curl_command(method: str, path: str, example: Any) -> str:
    line = f"curl http://127.0.0.1:8000{path}"
    if method == "get":
        return line
    data = json.dumps(example, ensure_ascii=False).replace("'", "'\\''")
    return f"{line} -H 'Content-Type: application/json' -d '{data}'"


def _field_table(rows: Sequence[Sequence[look.Words]]) -> Html:
    heads = (Text("Field", "字段"), Text("Type", "类型"), Text("Required", "必填"))
    named = [[_as_code(name) if isinstance(name, str) else name, *others] for name, *others in rows]
    return look.table([Column(head, "text") for head in heads], named)


def _as_code(name: str) -> Html:
    """A key of JSON, which reads the same in every language."""
    return Html(f"<code>{look.escape(name)}</code>")


def _iter_fields(openapi: Schema, schema: Schema, prefix: str) -> Iterator[list[look.Words]]:
    """One table row per field of a schema, nested ones by their path: `instances[].age`."""
    schema = _resolve_reference(openapi, schema)
    if schema.get("type") == "array":
        yield from _iter_fields(openapi, schema.get("items", {}), prefix + "[]")
        return
    properties = schema.get("properties", {})
    required = schema.get("required", ())
    for name, child in list(properties.items())[:_MAX_FIELDS]:
        path = f"{prefix}.{name}" if prefix else name
        yield [path, _type_text(_resolve_reference(openapi, child)), _yes_or_no(name in required)]
        yield from _iter_fields(openapi, child, path)
    hidden = len(properties) - _MAX_FIELDS
    if hidden > 0:
        yield [Text(f"{hidden} more in the schema below", f"其余 {hidden} 个见下方的模式"), "", ""]


def _yes_or_no(is_so: bool) -> Text:
    return Text("yes", "是") if is_so else Text("no", "否")


def _type_text(schema: Schema) -> look.Words:
    """The type of a schema in words: "list of number or null", "one of benign, malignant"."""
    if "enum" in schema:
        values = ", ".join("null" if value is None else str(value) for value in schema["enum"][:8])
        return Text(f"one of {values}", f"以下之一：{values}")
    if schema.get("type") == "array":
        return look.join(Text("list of ", "列表："), _type_text(schema.get("items", {})))
    json_type: list[str] | look.Words = schema.get("type", Text("any", "任意"))
    return Text(" or ".join(json_type), " / ".join(json_type)) if isinstance(json_type, list) else json_type


def _resolve_reference(openapi: Schema, schema: Schema) -> Schema:
    """The schema itself, or the one that its "#/components/..." reference points to."""
    reference = schema.get("$ref")
    if not reference:
        return schema
    node: Any = openapi
    for part in reference.removeprefix("#/").split("/"):
        node = node[part]
    return node if isinstance(node, dict) else {}


def _error_section(operations: Sequence[tuple[str, str, Schema]]) -> Section:
    """The section of all error statuses of the operations, each once."""
    descriptions: dict[str, str] = {}
    for _, _, operation in operations:
        for status, response in operation.get("responses", {}).items():
            if not status.startswith("2"):
                descriptions.setdefault(status, response.get("description", ""))
    columns = [Column(Text("Status", "状态码"), "text"), Column(Text("When", "何时"), "text")]
    shape = {"error": {"code": "…", "message": "…", "expected": "…", "fix": "…"}}
    body = look.paragraph(Text("Every refusal has this body:", "所有错误的响应体形式如下："))
    rows: list[list[look.Words]] = [
        [status, in_both_languages(words)] for status, words in sorted(descriptions.items())
    ]
    table = look.table(columns, rows)
    return Section(Text("Errors", "错误"), Html(body + look.command(json.dumps(shape, ensure_ascii=False)) + table))
