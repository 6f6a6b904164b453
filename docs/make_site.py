"""Makes the site of the documentation: `make docs`, or `python docs/make_site.py [--out DIR] [--serve PORT]`.

1. Each page is taken from its home in the repository (website/pages.py), its links are turned into links between pages
   (website/links.py), and the reference is made from the code (website/reference.py).
2. Zensical, which has an environment of its own (.venv-docs), makes HTML of that, once for each language: English at
   the root, Chinese in zh/. The site makes no request to any other host.

A link that leads to no page, or an error of Zensical, ends it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from website.charts import with_plots
from website.links import rewrite_links
from website.navigation import navigation, tutorial_index
from website.pages import DOCS, ENGLISH_ONLY, LANGUAGES, ROOT, Page, repository_pages
from website.reference import generated_pages, notebook_pages
from website.speed import with_both_themes, with_later_script

from deepseek.look.palette import DARK, LIGHT, css_variables
from deepseek.look.style import nested_stylesheet

PARTS = DOCS / "website"
WORK = ROOT / "build" / "site"
PICTURES = DOCS / "pictures"


def stage(language: str, generated: dict[str, str], work: Path = WORK) -> Path:
    """Everything that Zensical reads for one language, in a folder of its own; returns the configuration."""
    folder = work / language
    shutil.rmtree(folder, ignore_errors=True)
    pages = repository_pages(language)
    addresses = site_addresses(pages, [*generated, "tutorials/index.md"])
    texts = {page.path: page_text(page, addresses, language) for page in pages}
    titles = {page.path: page.title for page in pages} | {path: heading(text) for path, text in generated.items()}
    texts["benchmarks.md"] = with_plots(texts["benchmarks.md"], ROOT / "benchmarks" / "results", language)
    note = ENGLISH_ONLY if language == "zh" else ""
    for path, text in generated.items():
        texts[path] = text.replace("\n", f"\n\n{note}", 1) if note and not path.startswith("reference/api/") else text
    texts["tutorials/index.md"] = tutorial_index(titles, language)
    for path, text in texts.items():
        target = folder / "docs" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    if PICTURES.is_dir():
        shutil.copytree(PICTURES, folder / "docs" / "pictures")
    shutil.copytree(PARTS / "theme", folder / "theme")
    (folder / "docs" / "assets").mkdir()
    (folder / "docs" / "assets" / "site.css").write_text(site_css(), encoding="utf-8")
    for script in ("keyboard.js", "later.js"):
        shutil.copy(PARTS / script, folder / "docs" / "assets" / script)
    config = folder / "zensical.toml"
    config.write_text(configuration(language, titles), encoding="utf-8")
    return config


def site_addresses(pages: list[Page], made: list[str]) -> dict[str, str]:
    """The page or picture on the site of each file of the repository that may be linked to.

    The front page lies in docs/website/ and links to pages that are `made` when the site is, as if they lay there.
    """
    addresses = {page.source: page.path for page in pages}
    for page in (page for language in LANGUAGES for page in repository_pages(language)):
        addresses.setdefault(page.source, page.path)  # a link to the other language stays in this one
    addresses |= {"README.md": "index.md", "README.zh-CN.md": "index.md"}
    for picture in sorted(PICTURES.glob("*")):
        addresses[f"docs/pictures/{picture.name}"] = f"pictures/{picture.name}"
    for notebook in sorted((ROOT / "examples" / "notebooks").glob("*.py")):
        addresses[f"examples/notebooks/{notebook.name}"] = f"tutorials/{notebook.stem}.md"
    return addresses | {f"docs/website/{path}": path for path in made}


def page_text(page: Page, addresses: dict[str, str], language: str) -> str:
    """The Markdown of a page as it stands on the site."""
    text = with_both_themes(rewrite_links(page.text, page.source, page.path, addresses), PICTURES)
    if language == "zh" and not page.is_translated:
        head, _, rest = text.partition("\n")
        text = f"{head}\n\n{ENGLISH_ONLY}{rest}"
    return text


def heading(text: str) -> str:
    return text.partition("\n")[0].removeprefix("# ").strip()


def configuration(language: str, titles: dict[str, str]) -> str:
    """What Zensical reads: docs/website/zensical.toml with the language and the navigation."""
    text = (PARTS / "zensical.toml").read_text("utf-8").replace("SOURCES", str(ROOT / "src"))
    text = text.replace("PARTS", str(PARTS))
    home = {"en": "zh/", "zh": "../"}[language]
    own = [
        "[project]",
        'docs_dir = "docs"',
        'site_dir = "site"',
        f"nav = {as_toml(navigation(titles, language))}",
    ]
    text = text.replace("[project]", "\n".join(own), 1)
    text = text.replace("[project.theme]", f'[project.theme]\nlanguage = "{language}"', 1)
    names = {"en": "English", "zh": "中文"}
    links = {other: home if other != language else "" for other in LANGUAGES}
    for other in LANGUAGES:
        text += f'\n[[project.extra.alternate]]\nname = "{names[other]}"\nlink = "{links[other]}"\nlang = "{other}"\n'
    return text


def as_toml(value: object) -> str:
    """Lists, tables and texts as TOML on one line."""
    if isinstance(value, dict):
        return (
            "{ "
            + ", ".join(f"{json.dumps(key, ensure_ascii=False)} = {as_toml(item)}" for key, item in value.items())
            + " }"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def site_css() -> str:
    """The site's own rules, and those of the plots in the colors of the scheme that is chosen."""
    own = (PARTS / "site.css").read_text("utf-8")
    return (
        f"{own}\n.look{{{css_variables(LIGHT)}}}\n[data-md-color-scheme=slate] .look{{{css_variables(DARK)}}}\n"
        f"[data-md-color-scheme=slate]{{--md-typeset-a-color:{DARK['accent']}}}\n"
        f".look{{{nested_stylesheet()}}}\n"
    )


def zensical() -> str:
    """The program, of this environment or of .venv-docs."""
    beside = [Path(sys.executable).with_name("zensical"), ROOT / ".venv-docs" / "bin" / "zensical"]
    for candidate in beside:
        if candidate.is_file():
            return str(candidate)
    sys.exit("error: Zensical is not installed. To mend it: make docs, or pip install -e '.[docs]'")


def build(out: Path) -> None:
    """Both languages as HTML in `out`."""
    program = zensical()
    generated = generated_pages() | notebook_pages(ROOT / "examples" / "notebooks")
    shutil.rmtree(out, ignore_errors=True)
    for language, target in (("en", out), ("zh", out / "zh")):
        config = stage(language, generated)
        run = subprocess.run(
            [program, "build", "--clean", "--strict", "--config-file", config.name], cwd=config.parent,
            env=os.environ | {"NO_COLOR": "1"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if run.returncode:
            sys.exit(f"error: Zensical failed on the {language} pages:\n{run.stdout}{run.stderr}")
        for page in (config.parent / "site").rglob("*.html"):
            try:
                page.write_text(with_later_script(page.read_text("utf-8")), encoding="utf-8")
            except ValueError as error:
                sys.exit(f"error: {page}: {error}")
        shutil.copytree(config.parent / "site", target)
        print(f"{language}: {len(list((config.parent / 'site').rglob('*.html')))} pages", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the site of the documentation.")
    parser.add_argument("--out", type=Path, default=WORK / "html", help="folder of the site (default: build/site/html)")
    parser.add_argument("--serve", type=int, metavar="PORT", help="then serve it on 127.0.0.1:PORT")
    options = parser.parse_args()
    build(options.out)
    print(f"The site is in {options.out}; open index.html, or: make docs-serve", file=sys.stderr)
    if options.serve is not None:
        handler = partial(SimpleHTTPRequestHandler, directory=str(options.out))
        with ThreadingHTTPServer(("127.0.0.1", options.serve), handler) as server:
            print(f"Serving on http://127.0.0.1:{server.server_port} (Ctrl-C stops it)", file=sys.stderr)
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                print(file=sys.stderr)


if __name__ == "__main__":
    main()
