"""A card: a fragment of HTML for the output of a notebook's cell, in the style of the pages.

    card("loans", "It predicts default.", table(...), facts({...}))

Every rule of its style is held inside of the card by CSS nesting, so that it changes nothing else in the notebook, and
outweighs what JupyterLab says of tables. Dark where the notebook is dark: JupyterLab and VS Code say so in an attribute
or a class, others by prefers-color-scheme. A notebook that strips styles (an untrusted one) shows plain tables. It is
in English, and in Chinese where the notebook is.
"""

from __future__ import annotations

from functools import cache

from deepseek.look.palette import DARK, LIGHT, css_variables
from deepseek.look.style import nested_stylesheet
from deepseek.look.words import Html, Words, inline

CLASS = "deepseek-card"
#: Three times: JupyterLab's rules for tables name three classes.
_INSIDE = f".{CLASS}.{CLASS}.{CLASS}"
_LAYOUT = """
background:var(--ground);color:var(--ink);padding:12px 16px;max-width:800px;font:15px/1.5 system-ui,-apple-system,
"Segoe UI",Roboto,"Helvetica Neue",Arial,"Noto Sans","Noto Sans CJK SC","PingFang SC","Microsoft YaHei",sans-serif;
*{box-sizing:border-box}
h3{font-size:17px;line-height:1.3;margin:0 0 2px;color:var(--ink)}
h4{font-size:15px;line-height:1.4;margin:16px 0 2px;color:var(--ink)}
p,li,dd,figcaption{overflow-wrap:anywhere}
p{margin:4px 0;max-width:72ch}
.soft,figcaption{color:var(--soft)}
.warn{color:var(--warn)}.bad{color:var(--bad)}.good{color:var(--good)}
.positive{color:var(--positive)}.negative{color:var(--negative)}
ul.plain{list-style:none;margin:4px 0;padding:0}
figure h3{font-size:15px;margin:12px 0 2px}
table{margin:0;border:0;background:none}
tbody tr,thead tr,tbody tr:nth-child(even),tbody tr:nth-child(odd),tbody tr:hover{background:none}
th,td{background:none;max-width:none;white-space:normal}
summary{font-size:14px}
code{background:var(--wash);padding:0 3px}
.meter{height:6px;background:var(--wash);margin:8px 0 4px;max-width:480px}
.meter>div{height:6px;background:var(--accent)}
"""


def card(title: Words, answer: Words | Html, *parts: Html) -> str:
    """A card: its title, the one sentence that a reader came for, then the parts."""
    lead = f"<p>{inline(answer)}</p>" if answer else ""
    return f'<div class="{CLASS}"><style>{_stylesheet()}</style><h3>{inline(title)}</h3>{lead}{"".join(parts)}</div>'


def lines(*texts: Words, cls: str = "") -> Html:
    """One line for each text, such as warnings; nothing for none."""
    if not texts:
        return Html("")
    kind = f' class="{cls}"' if cls else ""
    return Html(f'<ul class="plain">{"".join(f"<li{kind}>{inline(text)}</li>" for text in texts)}</ul>')


def disclosure(title: Words, body: Html) -> Html:
    """A part that opens on demand."""
    return Html(f"<details><summary>{inline(title)}</summary>{body}</details>")


@cache
def _stylesheet() -> str:
    light, dark = css_variables(LIGHT), css_variables(DARK)
    themes = (
        f".{CLASS}{{color-scheme:light;{light}}}"
        f"@media (prefers-color-scheme:dark){{.{CLASS}{{color-scheme:dark;{dark}}}}}"
        f"[data-jp-theme-light=true] .{CLASS},.vscode-light .{CLASS}{{color-scheme:light;{light}}}"
        f"[data-jp-theme-light=false] .{CLASS},.vscode-dark .{CLASS}{{color-scheme:dark;{dark}}}"
    )
    languages = f"html:not([lang^=zh]) .{CLASS} .zh,html[lang^=zh] .{CLASS} .en{{display:none}}"
    return f"{themes}{languages}{_INSIDE}{{{nested_stylesheet()}{_LAYOUT}}}".replace("\n", "")
