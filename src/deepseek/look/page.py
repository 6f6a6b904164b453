"""The page shell: the answer first, then evidence, then detail that opens on demand, last the provenance.

    html = page("Report", "The model separates ...", [Section("Figures", table(...))], provenance={"digest": "..."})

One file without any request: style and script stand in the page, and a Content-Security-Policy that lists their hashes
forbids everything else, so that markup which slipped through in data could not run.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deepseek.look.style import stylesheet
from deepseek.look.tables import facts
from deepseek.look.words import Html, Text, Words, both_languages, escape, inline

_SCRIPT = """
(function(){
var root=document.documentElement,key="deepseek-language";
function stored(){try{return localStorage.getItem(key)}catch(error){return null}}
function show(lang){
root.dataset.lang=lang;root.lang=lang;
document.title=root.getAttribute("data-title-"+lang)||document.title;
document.querySelectorAll(".switch button").forEach(function(button){
button.setAttribute("aria-pressed",String(button.value===lang))});
}
function choose(lang){try{localStorage.setItem(key,lang)}catch(error){}show(lang)}
var wanted=stored()||(/^zh/i.test(navigator.language)?"zh":"en");
root.dataset.lang=wanted;
document.addEventListener("DOMContentLoaded",function(){
show(wanted);
document.querySelectorAll(".switch button").forEach(function(button){
button.addEventListener("click",function(){choose(button.value)})});
});
function unfold(){
var part=location.hash.length>1&&document.getElementById(decodeURIComponent(location.hash.slice(1)));
if(part&&part.tagName==="DETAILS"){part.open=true;part.scrollIntoView()}
}
addEventListener("hashchange",unfold);
document.addEventListener("DOMContentLoaded",unfold);
var opened=[];
addEventListener("beforeprint",function(){
opened=Array.from(document.querySelectorAll("details:not([open]):not(.json)"));
opened.forEach(function(part){part.open=true})});
addEventListener("afterprint",function(){opened.forEach(function(part){part.open=false})});
})();
"""


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a page. A folded section opens on demand and in print."""

    title: Words
    body: Html
    folded: bool = False
    id: str = ""


def page(
    title: Words,
    answer: Words | Html,
    sections: Sequence[Section],
    *,
    provenance: Mapping[Words, Words | Html] | None = None,
    lead: Words | Html = "",
    style: str = "",
    script: str = "",
    connect: bool = False,
    blobs: bool = False,
) -> str:
    """A whole HTML document.

    `answer` is the one sentence that a reader came for; `lead` may follow it in smaller type. `style` and `script` are
    added to the page's own; `connect` lets the script fetch from the page's own server, and `blobs` show the pictures
    and sounds that it has fetched.
    """
    css, scripts = stylesheet() + style, [_SCRIPT, *([script] if script else [])]
    parts = [_section(section) for section in sections]
    if provenance:
        origin = Text("Where this comes from", "来源")
        parts.append(f'<section id="provenance"><h2>{inline(origin)}</h2>{facts(provenance)}</section>')
    return (
        f'<!doctype html>\n<html lang="en"{_titles(title)}><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(css, scripts, connect, blobs)}">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escape(both_languages(title))}</title><style>{css}</style><script>{scripts[0]}</script></head>"
        f'<body><header class="page"><h1>{inline(title)}</h1>{_switch()}</header><main>'
        f'<p class="answer" id="answer">{inline(answer)}</p>{_lead(lead)}{"".join(parts)}</main>'
        f"{''.join(f'<script>{extra}</script>' for extra in scripts[1:])}</body></html>\n"
    )


def _lead(lead: Words | Html) -> str:
    return f'<p class="lead">{inline(lead)}</p>' if lead else ""


def _section(section: Section) -> str:
    name = f' id="{escape(section.id)}"' if section.id else ""
    if section.folded:
        return f'<details class="section"{name}><summary>{inline(section.title)}</summary>{section.body}</details>'
    return f"<section{name}><h2>{inline(section.title)}</h2>{section.body}</section>"


def _titles(title: Words) -> str:
    words = title if isinstance(title, Text) else Text(title, title)
    return f' data-title-en="{escape(words.en)}" data-title-zh="{escape(words.zh)}"'


def _switch() -> str:
    label = escape("Language · 语言")
    buttons = "".join(
        f'<button type="button" value="{value}" lang="{value}" aria-pressed="{"true" if value == "en" else "false"}">'
        f"{name}</button>"
        for value, name in (("en", "English"), ("zh", "中文"))
    )
    return f'<div class="switch" role="group" aria-label="{label}">{buttons}</div>'


def _policy(css: str, scripts: Sequence[str], connect: bool, blobs: bool) -> str:
    allowed = " ".join(map(_hash, scripts))
    rules = [
        f"style-src {_hash(css)}",
        f"script-src {allowed}",
        "img-src data: blob:" if blobs else "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    if connect:
        rules.append("connect-src 'self'")
    if blobs:
        rules.append("media-src blob:")
    return "default-src 'none';" + ";".join(rules)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
