"""Which files of the repository become which pages of the site, in which order, in both languages.

The home of a page is its file in the repository, where it can be read without the site: docs/guides/NAME.md in English,
docs/guides/zh/NAME.md in Chinese, and docs/gallery/ likewise. A page that is there in English alone stands on the
Chinese site as well, so that every address exists in both languages and the switch never leads nowhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
LANGUAGES = ("en", "zh")
ENGLISH_ONLY = '!!! note ""\n    本页只有英文。\n'

#: Groups of guides: title in both languages, names of the guides. A guide that stands in no group is shown in the last.
GUIDE_GROUPS: tuple[tuple[tuple[str, str], tuple[str, ...]], ...] = (
    (("Start and ship", "开始与打包"), ("install", "ship", "python", "media", "ecosystem")),
    (
        ("Train", "训练"),
        ("training", "optimizer", "distributed", "pipeline", "features", "custom-operator"),
    ),
    (("Explain and cite", "解释与引用"), ("explain", "citations")),
    (("Smaller and faster", "更小更快"), ("compress", "distill", "quantize", "pruning", "edge")),
    (
        ("Serve and watch", "服务与监控"),
        ("bundle", "serving", "streams", "container", "watching", "logs", "root-cause"),
    ),
    (("Industry solutions", "行业方案"), ("fraud", "rings", "maintenance", "defects", "process")),
    (
        ("Documents and conversations", "文档与对话"),
        ("assistant", "conversations", "compliance", "regulation", "judgment"),
    ),
    (("Labels, owners, privacy", "标注、多方与隐私"), ("labelling", "federated", "privacy")),
    (("More", "其他"), ()),
)
GALLERY_GROUPS: tuple[tuple[tuple[str, str], tuple[str, ...]], ...] = (
    (
        ("Industry solutions", "行业方案"),
        ("defects", "maintenance", "process", "fraud", "customer-service", "compliance"),
    ),
    (("Kinds of data", "数据类型"), ("tables", "text", "images", "audio", "video", "ct", "series")),
)
#: Pages beside the guides: file in the repository -> page of the site.
OTHER_PAGES = {
    "docs/README.md": "guides/index.md",
    "docs/gallery/README.md": "gallery/index.md",
    "docs/architecture.md": "architecture.md",
    "docs/benchmarks.md": "benchmarks.md",
    "docs/cli.md": "cli.md",
    "docs/extras.md": "extras.md",
    "docs/glossary.md": "glossary.md",
    "docs/log.md": "log.md",
    "docs/support.md": "support.md",
    "docs/roadmap.md": "roadmap.md",
    "docs/first-issues.md": "first-issues.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "examples/custom_operator/README.md": "tutorials/custom_operator.md",
    "examples/plugin_template/README.md": "tutorials/plugin_template.md",
}
#: Files that a page may link to and that are no Markdown: file -> page that shows it as text.
TEXT_PAGES = {"LICENSE": "project/license.md"}
#: Where a Chinese page lies beside an English one, other than in zh/.
CHINESE = {"docs/README.md": "docs/README.zh-CN.md", "docs/support.md": "docs/support.zh-CN.md",
           "docs/roadmap.md": "docs/roadmap.zh-CN.md"}  # fmt: skip
#: Folders whose pages have a neighbor of the same name in zh/.
WITH_CHINESE = ("docs/guides", "docs/gallery")
#: The front page is the site's own.
HOME = {"en": "docs/website/home.md", "zh": "docs/website/home.zh.md"}


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the site in one language."""

    source: str  # the file, from the root of the repository
    path: str  # of the page, from the root of the site in that language; ends in .md
    text: str  # Markdown as it stands in the file
    is_translated: bool = True  # False: English text on the Chinese site

    @property
    def title(self) -> str:
        """The first heading, without marks of code and links."""
        match = re.search(r"^# (.+)$", self.text, re.MULTILINE)
        return plain(match[1]) if match else PurePosixPath(self.path).stem


def plain(heading: str) -> str:
    """Text of a heading without Markdown.

    >>> plain("`ship`: see [the guide](ship.md)")
    'ship: see the guide'
    """
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip()


def repository_pages(language: str) -> list[Page]:
    """Every page that has a file of its own, in a language."""
    pages = [_page(HOME[language], "index.md", language)]
    pages += [_page(source, path, language) for source, path in OTHER_PAGES.items()]
    for folder in ("guides", "gallery", "decisions", "runbooks"):
        for file in sorted((DOCS / folder).glob("*.md")):
            if file.name == "README.md":  # the index, above
                continue
            pages.append(_page(f"docs/{folder}/{file.name}", f"{folder}/{file.name}", language))
    for source, path in TEXT_PAGES.items():
        text = f"# {source.title()}\n\n```text\n{(ROOT / source).read_text('utf-8')}```\n"
        pages.append(Page(source, path, text))
    return pages


def _page(source: str, path: str, language: str) -> Page:
    if language == "zh" and not source.startswith("docs/website/"):
        folder, _, name = source.rpartition("/")
        chinese = f"{folder}/zh/{name}" if folder in WITH_CHINESE else CHINESE.get(source, "")
        if chinese and (ROOT / chinese).is_file():
            return Page(chinese, path, (ROOT / chinese).read_text("utf-8"))
        return Page(source, path, (ROOT / source).read_text("utf-8"), is_translated=False)
    return Page(source, path, (ROOT / source).read_text("utf-8"))


def guide_groups(names: list[str]) -> list[tuple[tuple[str, str], list[str]]]:
    """The groups with the guides that are there; each guide once, those of no group in the last."""
    grouped = {name for _, group in GUIDE_GROUPS for name in group}
    rest = [name for name in names if name not in grouped]
    groups = [(title, [name for name in group if name in names]) for title, group in GUIDE_GROUPS[:-1]]
    return [*groups, (GUIDE_GROUPS[-1][0], rest)] if rest else groups
