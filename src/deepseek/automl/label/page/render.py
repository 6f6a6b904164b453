"""The page of a project as HTML: its definition as JSON, the places that the scripts fill, and the scripts."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

from deepseek import look
from deepseek.automl.label.project.records import Definition
from deepseek.look import Html, Section, Text

SCRIPTS = ("label.js", "view.js", "preview.js", "masks.js", "parts.js")
STYLE = """
body{max-width:960px}.answer{display:none}section h2{margin:16px 0 4px}
#who,#bar,.acts{display:flex;flex-wrap:wrap;gap:8px 16px;align-items:end;margin:8px 0}
#who label{display:flex;flex-direction:column;font-size:14px;color:var(--soft)}
input,textarea{font:inherit;color:var(--ink);background:transparent;border:1px solid var(--soft);border-radius:4px;
padding:4px 8px}
#bar{justify-content:space-between;font-size:14px}#bar p{margin:0}
#card{border-top:1px solid var(--rule);border-bottom:1px solid var(--rule);padding:12px 0;margin:8px 0;min-height:96px}
#card .prose .text{font-size:20px;line-height:1.5;white-space:pre-wrap;max-width:60ch;margin:0 0 8px}
#card .prose .soft{margin:0;font-size:14px}
.picture{display:block;max-width:100%;max-height:60vh;height:auto;image-rendering:auto}
.frame{overflow:auto;max-height:64vh}.stage{position:relative;width:100%}.stage .picture{width:100%;max-height:none}
.stage.zoomed{margin:0 auto}.stage.zoomed .picture{width:auto;max-width:100%;max-height:60vh;margin:0 auto}
.stage.large .picture{width:100%;max-width:none;max-height:none}
.picture.slice{background:#000;object-fit:fill;max-height:none!important}
.slices{display:flex;gap:12px;align-items:center;margin:8px 0}.slices input{flex:1;padding:0;accent-color:var(--accent)}
.place{font-variant-numeric:tabular-nums;min-width:6em;text-align:right}
figure.plot{margin:8px 0}
figure.plot figcaption{max-width:none;display:flex;justify-content:space-between;font-size:14px}
svg.curve{display:block;width:100%;border-bottom:1px solid var(--rule)}
svg.curve .line{fill:var(--accent);stroke:var(--accent);stroke-width:1.5;vector-effect:non-scaling-stroke;
stroke-linejoin:round}svg.curve .playing{stroke:var(--bad);stroke-width:2;vector-effect:non-scaling-stroke}
.bands{display:block;width:100%;height:128px;object-fit:fill}
#card .axis{max-width:none;display:flex;justify-content:space-between;font-size:13px;color:var(--soft);margin:2px 0 8px}
button.act[aria-pressed=true]{border-color:var(--accent)}
svg.boxes{position:absolute;inset:0;width:100%;height:100%;touch-action:none;cursor:crosshair}
svg.boxes .box{fill:none;stroke:var(--s2);stroke-width:2;vector-effect:non-scaling-stroke;pointer-events:none}
svg.masks .box{fill:var(--s2);fill-opacity:.25}svg.masks polyline.box{fill:none}
svg.masks .point{fill:#fff;stroke:#000;vector-effect:non-scaling-stroke;pointer-events:none}
svg.masks .point.now{fill:var(--accent)}
svg.boxes .chosen{stroke-width:4;stroke-dasharray:6 3}
svg.boxes text{fill:#fff;stroke:#000;stroke-width:3px;paint-order:stroke;pointer-events:none;
vector-effect:non-scaling-stroke;font-family:system-ui,sans-serif}
.spans{font-size:20px;line-height:2.1;max-width:60ch;white-space:pre-wrap}
.spans .cursor{outline:2px solid var(--accent);outline-offset:1px}
.spans .marked{background:var(--wash);border-bottom:3px solid var(--s2)}
.spans .marked[data-label]:not([data-label=""])::before{content:attr(data-label) " ";font-size:13px;color:var(--soft)}
#labels{display:flex;flex-wrap:wrap;gap:8px;margin:12px 0;max-height:38vh;overflow:auto}
button.label,button.act{font:inherit;cursor:pointer;color:var(--ink);background:transparent;
border:1px solid var(--soft);border-radius:4px;padding:6px 12px;min-height:40px}
button.label[aria-pressed=true]{border-color:var(--accent);border-width:2px;padding:5px 11px}
button.act{padding:4px 12px;min-height:32px}button.main{color:var(--ground);background:var(--accent);
border-color:var(--accent)}
kbd{border:1px solid var(--rule);border-radius:3px;padding:0 5px;margin-right:8px;color:var(--soft);font-size:13px}
#comment{flex:1 1 16em;min-width:8em}#live{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
#conflicts .act{margin-right:8px}[hidden]{display:none!important}audio{width:100%}video{max-width:100%}
@media (max-width:560px){#labels{max-height:none}#card .prose .text{font-size:18px}.acts kbd{display:none}}
"""
HELP = (
    ("1 … 9, 0", Text("a label; of more than ten: its beginning, then Enter", "标签；多于十个时：输入开头后按回车")),
    ("Enter", Text("done, next (numbers, boxes, masks, spans)", "完成并继续（数值、框、掩膜、片段）")),
    ("S · N", Text("skip · not sure", "跳过 · 不确定")),
    ("Z", Text("take back the last one", "撤回上一个")),
    ("C", Text("comment; Enter or Escape leaves it", "备注；回车或 Esc 离开")),
    ("H · Space", Text("show or hide what the model says · accept it", "显示或隐藏模型的判断 · 采用它")),
    ("Esc · /", Text("leave a field: letters are keys · search again", "离开输入框，字母即为快捷键 · 重新搜索")),
)  # fmt: skip
ZOOM_HELP = (("+ · −", Text("zoom", "缩放")),)
SCAN_HELP = (
    ("↑ ↓", Text("the next slice, the one before; Page Up, Down: ten", "上一张或下一张切片；翻页键十张")),
    ("W", Text("another window of gray values (CT)", "切换窗宽窗位（CT）")),
)  # fmt: skip
BOX_HELP = (
    ("B", Text("a new box; or draw it", "新建框；也可拖动绘制")),
    ("← ↑ → ↓", Text("move it; with Shift change its size", "移动；按住 Shift 调整大小")),
    ("Tab · Del", Text("the next box · delete it", "下一个框 · 删除")),
    ("+ · −", Text("zoom", "缩放")),
)
MASK_HELP = (
    ("B", Text("a new mask; or draw it at once, or by points, then Enter", "新建；或一笔画出；或逐点点击后按回车")),
    (", · .", Text("the point before or after", "上一个或下一个点")),
    ("← ↑ → ↓", Text("move the point; with Shift the whole mask", "移动该点；按住 Shift 移动整个掩膜")),
    ("I · Del", Text("a point more · one less; with Shift the mask", "增加一点 · 删除该点；按住 Shift 删除掩膜")),
    ("Tab", Text("the next mask", "下一个掩膜")),
    ("+ · −", Text("zoom", "缩放")),
)  # fmt: skip
SPAN_HELP = (
    ("← →", Text("the word before or after; with Shift several words", "前一个或后一个词；按住 Shift 选择多个")),
    ("Del", Text("delete the span at the cursor", "删除光标处的片段")),
)


@cache
def _script() -> str:
    folder = files("deepseek.automl.label.page")
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in SCRIPTS)


def render_label_page(definition: Definition, *, has_people: bool) -> str:
    """The whole page of one project."""
    name = definition.source or definition.target
    return look.page(
        Text(f"Label: {name}", f"标注：{name}"), "",
        [
            Section(Text("Example", "样本"), _work(definition, has_people=has_people), id="example"),
            Section(Text("Keys", "快捷键"), _help(definition), folded=True, id="help"),
        ],
        style=STYLE, script=_script(), connect=True, blobs=True,
    )  # fmt: skip


def _work(definition: Definition, *, has_people: bool) -> Html:
    """Who labels, how far it is, the example, the labels and what else can be done."""
    facts = {
        "id": definition.source_digest[:16], "task": definition.task, "labels": definition.labels,
        "kinds": dict(definition.kinds), "media": definition.media, "texts": definition.texts,
    }  # fmt: skip
    document = json.dumps(facts, ensure_ascii=False).replace("<", "\\u003c")
    key = (
        f'<label>{look.inline(Text("Key", "密钥"))}<input id="key" type="password" autocomplete="current-password">'
        "</label>"
        if has_people
        else ""
    )
    who = (
        f'<div id="who"><label>{look.inline(Text("Your name", "您的姓名"))}<input id="person" autocomplete="username" '
        f'maxlength="64"></label>{key}{_button("begin", Text("Begin", "开始"), kind="main")}</div>'
    )
    acts = (
        _button("skip", Text("Skip", "跳过"), "S") + _button("unsure", Text("Not sure", "不确定"), "N")
        + _button("undo", Text("Take back", "撤回"), "Z") + _button("toggle-hint", Text("Model", "模型"), "H")
    )  # fmt: skip
    comment = look.escape("Comment · 备注")
    return Html(
        f'<script type="application/json" id="project">{document}</script>{who}'
        '<div id="bar"><p id="progress"></p><p id="sync" role="status"></p></div><p id="problem" role="alert"></p>'
        '<div id="conflicts"></div><div id="end" class="state"></div>'
        '<div id="work" hidden><p class="note"><span id="key-of-item"></span></p><div id="card"></div>'
        f'<div id="hint"></div><div id="others"></div>{_input(definition)}<div class="acts">{acts}'
        f'<input id="comment" maxlength="4000" placeholder="{comment}" aria-label="{comment}"></div></div>'
        '<p class="note" id="last"></p><p id="live" aria-live="polite"></p>'
        f"<noscript><p>{look.inline(Text('This page needs JavaScript.', '本页需要 JavaScript。'))}</p></noscript>"
    )


def _input(definition: Definition) -> str:
    """What the label is given by: buttons, a search among many, or a number."""
    done = _button("done", Text("Done, next", "完成，下一个"), "↵", kind="main")
    if definition.task == "regression":
        label = look.inline(Text("Number", "数值"))
        return f'<p><label>{label} <input id="number" inputmode="decimal" autocomplete="off"></label> {done}</p>'
    search = look.escape("Find a label · 查找标签")
    field = (
        f'<p><input id="search" placeholder="{search}" aria-label="{search}" autocomplete="off"></p>'
        if len(definition.labels) > 10
        else ""
    )
    group = look.escape("Labels · 标签")
    parts = f"<p>{done}</p>" if definition.task in ("boxes", "masks", "spans") else ""
    return f'{field}<div id="labels" role="group" aria-label="{group}"></div>{parts}'


def _button(name: str, words: Text, key: str = "", *, kind: str = "") -> str:
    hint = f"<kbd>{key}</kbd>" if key and not kind else ""
    return f'<button type="button" class="act {kind}" id="{name}">{hint}{look.inline(words)}</button>'


def _help(definition: Definition) -> Html:
    kinds = set(definition.kinds.values())
    view = (*(ZOOM_HELP if kinds & {"image", "volume"} else ()), *(SCAN_HELP if "volume" in kinds else ()))
    more = {"boxes": BOX_HELP, "masks": MASK_HELP, "spans": SPAN_HELP}.get(definition.task, view)
    return look.facts(dict((*HELP, *more)))
