"""The navigation of the site, in both languages: made from the pages that are there, so that no page is left out."""

from __future__ import annotations

from website.pages import GALLERY_GROUPS, guide_groups

TITLES = {
    "home": ("Home", "首页"),
    "tutorials": ("Tutorials", "教程"),
    "gallery": ("Gallery", "示例库"),
    "guides": ("How-to guides", "操作指南"),
    "reference": ("Reference", "参考"),
    "explanation": ("Explanation", "原理"),
    "benchmarks": ("Benchmarks", "基准测试"),
    "project": ("Project", "项目"),
    "api": ("Python API", "Python API"),
    "decisions": ("Decisions", "设计决定"),
    "runbooks": ("Runbooks of alerts", "告警处置手册"),
    "all guides": ("All guides", "全部指南"),
}
REFERENCE = ("cli.md", "reference/configuration.md", "reference/metrics.md", "reference/errors.md", "extras.md")
PROJECT = ("log.md", "roadmap.md", "first-issues.md", "support.md", "project/changelog.md", "project/contributing.md",
           "project/security.md", "project/license.md")  # fmt: skip
TUTORIALS = {
    "en": "# Tutorials\n\nEach is a notebook of `examples/notebooks/` that a test executes; paste cell by cell.\n",
    "zh": "# 教程\n\n每一篇都是 `examples/notebooks/` 里的一个笔记本，由测试执行；可逐格粘贴运行。\n",
}


def tutorial_index(titles: dict[str, str], language: str) -> str:
    """The page that lists the tutorials."""
    rows = [f"- [{titles[path]}]({path.rpartition('/')[2]})" for path in titles if path.startswith("tutorials/")]
    return TUTORIALS[language] + "\n" + "\n".join(rows) + "\n"


def navigation(titles: dict[str, str], language: str) -> list[dict[str, object]]:
    """The tree that Zensical shows: title -> page, or title -> list. `titles` has every page with its title."""
    index = ("en", "zh").index(language)

    def name(key: str) -> str:
        return TITLES[key][index]

    def under(folder: str) -> list[str]:
        return [path for path in titles if path.startswith(f"{folder}/") and not path.endswith("/index.md")]

    def entries(paths: tuple[str, ...] | list[str]) -> list[dict[str, str]]:
        return [{titles[path]: path} for path in paths if path in titles]

    gallery: list[object] = ["gallery/index.md"]
    for title, pages in GALLERY_GROUPS:
        gallery.append({title[index]: entries([f"gallery/{page}.md" for page in pages])})
    guides: list[object] = ["guides/index.md"]
    for title, names in guide_groups([path.removeprefix("guides/")[:-3] for path in under("guides")]):
        guides.append({title[index]: entries([f"guides/{guide}.md" for guide in names])})
    api = ["reference/api/index.md", *entries(sorted(under("reference/api")))]
    runbooks, decisions = entries(sorted(under("runbooks"))), entries(sorted(under("decisions")))
    return [
        {name("home"): "index.md"},
        {name("tutorials"): ["tutorials/index.md", *entries(sorted(under("tutorials")))]},
        {name("gallery"): gallery},
        {name("guides"): guides},
        {name("reference"): [{name("api"): api}, *entries(REFERENCE), {name("runbooks"): runbooks}]},
        {name("explanation"): [*entries(("architecture.md", "glossary.md")), {name("decisions"): decisions}]},
        {name("benchmarks"): "benchmarks.md"},
        {name("project"): entries(PROJECT)},
    ]  # fmt: skip
