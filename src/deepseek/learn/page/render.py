"""The page of the learning path as HTML."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

from deepseek import look
from deepseek.learn.definition.lab import Lab
from deepseek.learn.page.parts import MATRIX_STYLE, RINGS, STATUS, matrix_summary, matrix_table, task_html
from deepseek.learn.page.radar import skill_radar
from deepseek.learn.verbs import LabState, LearningPath, Overview
from deepseek.look import Html, Section, Text

STYLE = """
body{max-width:1180px}
ol.map{padding-left:26px;max-width:none;columns:2;column-gap:40px}
ol.map li{break-inside:avoid;padding:6px 0;margin:0}ol.map .soft{font-size:14px}
.lab{border-top:1px solid var(--rule);padding-top:8px}.lab>summary{font-size:18px;font-weight:600;color:var(--ink)}
.side{display:grid;grid-template-columns:minmax(0,3fr) minmax(0,2fr);gap:32px}
.terminal{position:sticky;top:12px;align-self:start}
.terminal .said{background:var(--wash);padding:12px 16px;min-height:96px;font-size:14px;overflow-wrap:anywhere}
.terminal .said ul{padding-left:0;list-style:none;margin:4px 0}.terminal .said li{margin:4px 0}
.terminal button{font:inherit;color:var(--ink);background:transparent;border:1px solid var(--soft);border-radius:4px;
padding:4px 12px;margin:0 8px 8px 0;cursor:pointer}.terminal button:disabled{color:var(--soft);cursor:default}
.task h3{font-size:17px}.task h4,.task h5{font-size:16px;margin:20px 0 4px}
@media (max-width:860px){.side{grid-template-columns:minmax(0,1fr)}ol.map{columns:1}.terminal{position:static}}
@media print{.terminal{display:none}.side{display:block}ol.map{columns:1}}
"""


def render_learn_page(path: LearningPath, result: Overview) -> str:
    """Where the learner is, the map, the skills, then each lab with its task and the place of its check."""
    passed = {state.lab.id for state in result.states if state.passed is not None}
    sections = [Section(Text("Map", "路线图"), _map(path, result), id="map")]
    name = Text("Skills by module", "各模块技能")
    summary = matrix_summary(path.matrix, passed)
    caption = Text(f"{summary.en} {RINGS.en}", f"{summary.zh}{RINGS.zh}")
    radar = look.figure(skill_radar, path.matrix, passed, title=name, caption=caption)
    sections.append(Section(Text("Skills", "技能"), radar, id="skills"))
    table = matrix_table(path.matrix, path.catalog, passed)
    sections.append(Section(Text("Skill matrix", "技能矩阵"), table, folded=True, id="matrix"))
    sections.append(Section(Text("Labs", "实验"), Html("".join(_lab(state) for state in result.states)), id="labs"))
    words = {name: text._asdict() for name, text in STATUS.items()}
    data = Html(f'<script type="application/json" id="words">{json.dumps(words, ensure_ascii=False)}</script>')
    sections[-1] = Section(sections[-1].title, Html(sections[-1].body + data), id="labs")
    return look.page(
        Text("Learning path", "学习路径"),
        _answer(result),
        sections,
        style=STYLE + MATRIX_STYLE,
        script=_script(),
        connect=True,
    )


def _answer(result: Overview) -> Text:
    num_passed = sum(state.passed is not None for state in result.states)
    total = len(result.states)
    if result.next_lab is None:
        return Text(f"All {total} labs are passed.", f"{total} 个实验已全部通过。")
    title = result.next_lab.table.title
    return Text(
        f"{num_passed} of {total} labs are passed. Next: {title.en}.",
        f"{total} 个实验中已通过 {num_passed} 个。下一个：{title.zh}。",
    )


def _map(path: LearningPath, result: Overview) -> Html:
    parts = []
    for level, table in result.levels.items():
        states = result.of_level(level)
        hours = sum(state.lab.table.hours for state in states)
        about = Text(
            f"{len(states)} of {table.num_labs} labs in this version, {hours:g} hours",
            f"此版本含 {table.num_labs} 个实验中的 {len(states)} 个，共 {hours:g} 学时",
        )
        parts.append(f"<h3>{look.inline(table.title.text)}</h3>{look.paragraph(about, note=True)}")
        if states:
            parts.append(f'<ol class="map">{"".join(_map_line(path, state) for state in states)}</ol>')
    return Html("".join(parts))


def _map_line(path: LearningPath, state: LabState) -> Html:
    lab = state.lab
    before = [path.catalog.lab(name).table.title for name in lab.table.requires]
    after = Text(
        f"after {', '.join(title.en for title in before)}" if before else "",
        f"先修：{'、'.join(title.zh for title in before)}" if before else "",
    )
    module = path.matrix.modules[lab.table.module].text
    about = Text(
        ", ".join(filter(None, (module.en, f"{lab.table.hours:g} h", after.en))),
        "，".join(filter(None, (module.zh, f"{lab.table.hours:g} 学时", after.zh))),
    )
    return Html(
        f'<li><a href="#{lab.id}">{look.inline(lab.table.title.text)}</a> <span data-status="{lab.id}">'
        f'{_status(state)}</span><br><span class="soft">{look.inline(about)}</span></li>'
    )


def _status(state: LabState) -> Html:
    if state.passed is not None:
        return look.verdict("good", STATUS["passed"])
    return Html(f'<span class="soft">{look.inline(STATUS[state.status])}</span>')


def _lab(state: LabState) -> Html:
    lab = state.lab
    title = f'<summary id="{lab.id}-title">{look.inline(lab.table.title.text)}</summary>'
    return Html(
        f'<details class="lab" id="{lab.id}">{title}{look.paragraph(lab.table.summary.text)}'
        f'<div class="side">{task_html(lab)}{_terminal(lab, state)}</div></details>'
    )


def _terminal(lab: Lab, state: LabState) -> Html:
    buttons = "".join(
        f'<button type="button" data-act="{act}" data-lab="{lab.id}">{look.inline(words)}</button>'
        for act, words in (
            ("start", Text("Begin", "开始")), ("check", Text("Check", "检查")),
            ("hint", Text("Next hint", "下一条提示")),
        )
    )  # fmt: skip
    place = Text("Not begun yet.", "尚未开始。") if state.folder is None else str(state.folder)
    command = look.command(f"deepseek learn check {lab.id}")
    extras = ", ".join(lab.table.installs)
    needs = (
        Text(f"Needs the extras {extras}.", f"需要附加组件 {extras}。")
        if extras
        else Text("Needs no extra.", "不需要任何附加组件。")
    )
    return Html(
        f'<div class="terminal">{buttons}{command}<p class="note" data-folder="{lab.id}">{look.inline(place)}</p>'
        f"{look.paragraph(needs, note=True)}"
        f'<div class="said" role="status" aria-live="polite" tabindex="0" data-said="{lab.id}">'
        f"{look.paragraph(_last_check(state), note=True)}</div></div>"
    )


def _last_check(state: LabState) -> Text:
    """What stands where the outcome of a check will."""
    if state.last_score is None:
        return Text(
            "Begin makes the folder. Work in it, then press Check as often as you like.",
            "“开始”会生成文件夹。在其中完成任务，然后随时点击“检查”。",
        )
    return Text(
        f"The last check gave {state.last_score} of 100 points.", f"上次检查得 {state.last_score} 分（满分 100）。"
    )


@cache
def _script() -> str:
    return files("deepseek.learn.page").joinpath("learn.js").read_text("utf-8")
