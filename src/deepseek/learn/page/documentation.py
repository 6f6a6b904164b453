"""The labs as pages of a documentation, in English and Chinese: what is learned there is written once, in the labs."""

from __future__ import annotations

from pathlib import Path

from deepseek.errors import InputError
from deepseek.files import atomic_file
from deepseek.learn.definition.catalog import Catalog
from deepseek.learn.definition.lab import LEVELS, Lab, Language
from deepseek.learn.definition.matrix import Matrix
from deepseek.look.words import Text

WORDS = {
    "labs": Text("Labs", "实验"),
    "graded": Text("What is graded", "评分内容"),
    "points": Text("Points", "分值"),
    "holds": Text("What holds then", "通过的含义"),
    "needs": Text("Before", "先修"),
    "installs": Text("Needs the extras", "需要的附加组件"),
    "no_extra": Text("Needs no extra.", "不需要任何附加组件。"),
    "about": Text("About {hours} hours: {reason}", "约 {hours} 学时：{reason}"),
    "intro": Text(
        "Each lab is a folder with data of your own; `deepseek learn check` grades what you made, on your machine.",
        "每个实验是一个文件夹，数据因人而异；`deepseek learn check` 在你的机器上为成果评分。",
    ),
}


def write_documentation(catalog: Catalog, matrix: Matrix, folder: Path) -> tuple[str, ...]:
    """One page for each lab and an index, in `folder` and in `folder`/zh. The names of the files. InputError where
    there is a file of that name which is none of ours to replace."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is no folder", expected="a folder", fix="choose another")
    names = []
    languages: tuple[Language, ...] = ("en", "zh")
    for language in languages:
        place = folder if language == "en" else folder / "zh"
        place.mkdir(parents=True, exist_ok=True)
        pages = {"README.md": _index(catalog, matrix, language)}
        pages |= {f"{lab.id}.md": lab_page(lab, catalog, language) for lab in catalog.labs}
        for name, text in pages.items():
            with atomic_file(place / name) as part:
                part.write_text(text, encoding="utf-8")
            names.append((place / name).relative_to(folder).as_posix())
    return tuple(names)


def lab_page(lab: Lab, catalog: Catalog, language: Language) -> str:
    """The task, with what it takes before it and what is graded after it."""
    title, _, body = lab.task(language).partition("\n")
    table = lab.table
    about = _pick(WORDS["about"], language).format(
        hours=f"{table.hours:g}", reason=_pick(table.hours_reason.text, language)
    )
    before = ", ".join(f"[{_pick(catalog.lab(each).table.title.text, language)}]({each}.md)" for each in table.requires)
    lines = [title, "", f"    deepseek learn start {lab.id}", "", about, ""]
    if before:
        lines += [f"{_pick(WORDS['needs'], language)}: {before}", ""]
    extras = ", ".join(f"`{extra}`" for extra in table.installs)
    lines += [f"{_pick(WORDS['installs'], language)}: {extras}" if extras else _pick(WORDS["no_extra"], language), ""]
    lines += [body.strip(), "", f"## {_pick(WORDS['graded'], language)}", ""]
    lines += [f"| {_pick(WORDS['points'], language)} | {_pick(WORDS['holds'], language)} |", "| ---: | --- |"]
    lines += [f"| {check.weight} | {_pick(check.title.text, language)} |" for check in table.checks]
    return "\n".join(lines) + "\n"


def _index(catalog: Catalog, matrix: Matrix, language: Language) -> str:
    lines = [f"# {_pick(WORDS['labs'], language)}", "", _pick(WORDS["intro"], language), ""]
    for level in LEVELS:
        labs = catalog.of_level(level)
        if not labs:
            continue
        lines += [f"## {_pick(catalog.levels[level].title.text, language)}", ""]
        for lab in labs:
            module = _pick(matrix.modules[lab.table.module].text, language)
            title, summary = _pick(lab.table.title.text, language), _pick(lab.table.summary.text, language)
            lines.append(f"- [{title}]({lab.id}.md) ({module}): {summary}")
        lines.append("")
    return "\n".join(lines)


def _pick(text: Text, language: Language) -> str:
    return text.zh if language == "zh" else text.en
