"""Pages that are made from the code when the site is built: API, error messages, metrics, settings of the server."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from deepseek.observe.metrics_table import METRICS
from deepseek.serve.core.config import ENVIRONMENT, INTEGER_RANGES, Settings
from website.pages import ROOT
from website.public_api import PublicName, public_names, rooms

SRC = ROOT / "src" / "deepseek"
OPTIONS = """    options:
      heading_level: {level}
      docstring_style: null
      show_root_heading: {heading}
      show_root_full_path: false
      show_source: false
      members_order: source
      members: {members}
      inherited_members: false
      show_signature_annotations: true
      separate_signature: true
      show_bases: false
      show_if_no_docstring: true
"""


def api_pages() -> dict[str, str]:
    """The reference of the Python API: a page for each room that lists public names."""
    pages = {}
    index = ["# Python API\n", "Made from the docstrings. What is listed here is public; all else may change.\n",
             "| Module | What it does | Names |", "| --- | --- | --- |"]  # fmt: skip
    for room in rooms():
        module = f"deepseek.{room}" if room else "deepseek"
        file = f"{room or 'deepseek'}.md"
        names = public_names(room)
        pages[f"reference/api/{file}"] = api_page(module, names)
        index.append(f"| [`{module}`]({file}) | {first_sentence(module)} | {len(names)} |")
    return {"reference/api/index.md": "\n".join(index) + "\n"} | pages


def api_page(module: str, names: list[PublicName]) -> str:
    """What a module is for, then each of its public names."""
    parts = [f"# {module}\n", f"::: {module}\n" + OPTIONS.format(level=2, heading="false", members="false")]
    for public in names:
        if public.definition:
            members = "null" if isinstance(public.value, type) else "false"  # null: all but those with a leading _
            parts.append(f"::: {public.definition}\n" + OPTIONS.format(level=2, heading="true", members=members))
        else:
            parts.append(f"## {public.name}\n\n{public.summary}\n")
    return "\n".join(parts)


def first_sentence(module: str) -> str:
    text = " ".join((importlib.import_module(module).__doc__ or "").split("\n\n")[0].split())
    return text.split(". ")[0].rstrip(".:").replace("|", "\\|")


@dataclass(frozen=True, slots=True)
class Message:
    """An error that is raised somewhere: what it says, with names of values in braces."""

    room: str
    error: str  # name of the class
    message: str
    expected: str
    fix: str


def messages() -> Iterator[Message]:
    """Every error of deepseek.errors that is raised with a text of its own, in the order of the files."""
    errors = {
        name for name, value in vars(importlib.import_module("deepseek.errors")).items() if isinstance(value, type)
    }
    for path in sorted(SRC.rglob("*.py")):
        room = path.relative_to(SRC).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in errors):
                continue
            texts = {keyword.arg: template(keyword.value) for keyword in node.keywords}
            message = template(node.args[0]) if node.args else ""
            if message:
                yield Message(room, node.func.id, message, texts.get("expected", ""), texts.get("fix", ""))


def template(node: ast.expr) -> str:
    """A text as it stands in the code, with what is put in as {name}; "" where it is made elsewhere.

    >>> template(ast.parse('f"there is no {column.name!r}"', mode="eval").body)
    'there is no {name}'
    """
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return template(node.left) + template(node.right)
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else "{" + value_name(part) + "}" for part in node.values
        )
    return ""


def value_name(part: ast.expr) -> str:
    names = re.findall(r"[A-Za-z_]\w*", ast.unparse(part.value)) if isinstance(part, ast.FormattedValue) else []
    return names[-1] if names else "value"


def errors_page() -> str:
    """Every message, by room, with what to do."""
    module = importlib.import_module("deepseek.errors")
    parts = [
        "# Error messages\n",
        """Every error of this package says what is wrong, what was expected and how to mend it. Words in braces stand
for values. The class gives the exit code of a command and the status of an HTTP answer.
""",
        "| Class | Exit code | HTTP | `code` | When |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, value in vars(module).items():
        if isinstance(value, type):
            doc = " ".join((value.__doc__ or "").split()).replace("|", "\\|")
            parts.append(f"| `{name}` | {value.exit_code} | {value.status} | `{value.code}` | {doc} |")
    room = ""
    for entry in sorted(messages(), key=lambda message: message.room):
        if entry.room != room:
            room = entry.room
            parts += ["", f"## {room}\n", "| Message | Expected | To mend it |", "| --- | --- | --- |"]
        cells = (cell(entry.message), cell(entry.expected), cell(entry.fix))
        parts.append(f"| {cells[0]} (`{entry.error}`) | {cells[1]} | {cells[2]} |")
    return "\n".join(parts) + "\n"


def cell(text: str) -> str:
    """A text as it is, in a cell of a table."""
    text = " ".join(text.split())
    return re.sub(r"([\\`*_{}\[\]<>|#$~^=+!])", r"\\\1", text).replace("\\<", "&lt;").replace("\\>", "&gt;")


def metrics_page() -> str:
    """Every metric that a server, a stream or a run of training tells."""
    parts = [
        "# Metrics\n",
        """What `/metrics` tells, from the same table as the dashboards, the alert rules and `deepseek observe check`.
[Watching](../guides/watching.md) says where each is shown and what it alarms.
""",
        "| Metric | Kind | Unit | Labels | Meaning | Needs |",
        f"| {' | '.join(['---'] * 6)} |",
    ]
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        cells = (f"`{metric.name}`", metric.kind, cell(metric.unit), labels, cell(metric.meaning), cell(metric.needs))
        parts.append(f"| {' | '.join(cells)} |")
    return "\n".join(parts) + "\n"


def configuration_page() -> str:
    """Settings of the server: field, variable of the environment, default, range, meaning."""
    source = (SRC / "serve" / "core" / "config.py").read_text("utf-8")
    variables = {field: variable for variable, field in ENVIRONMENT.items()}
    parts = [
        "# Settings of the server\n",
        """Options of `deepseek serve` go before variables of the environment, and these before the defaults.
[Serving](../guides/serving.md) says how each is used; [the command line](../cli.md) has the options.
""",
        "| Setting | Environment | Default | Range | Meaning |",
        f"| {' | '.join(['---'] * 5)} |",
    ]
    for field in fields(Settings):
        comment = re.search(rf"^    {field.name}: [^#\n]*#\s*(.*)$", source, re.MULTILINE)
        low_high = INTEGER_RANGES.get(field.name)
        variable = f"`{variables[field.name]}`" if field.name in variables else ""
        bounds = f"{low_high[0]:,} to {low_high[1]:,}" if low_high else ""
        meaning = cell(comment[1]) if comment else ""
        parts.append(f"| `{field.name}` | {variable} | `{field.default}` | {bounds} | {meaning} |")
    return "\n".join(parts) + "\n"


def generated_pages() -> dict[str, str]:
    """Path on the site -> Markdown, of all that is made from code."""
    return api_pages() | {
        "reference/errors.md": errors_page(),
        "reference/metrics.md": metrics_page(),
        "reference/configuration.md": configuration_page(),
    }


def notebook_pages(folder: Path) -> dict[str, str]:
    """The notebooks of a folder as tutorials: cells of text as text, cells of code as code."""
    pages = {}
    for file in sorted(folder.glob("*.py")):
        body = file.read_text("utf-8").split("# %%", 1)[1]
        parts = []
        for part in ("# %%" + body).split("# %%")[1:]:
            head, _, rest = part.partition("\n")
            if "[markdown]" in head:
                parts.append(re.sub(r"^# ?", "", rest.strip(), flags=re.MULTILINE))
            else:
                parts.append(f"```python\n{rest.strip()}\n```")
        pages[f"tutorials/{file.stem}.md"] = "\n\n".join(parts) + "\n"
    return pages
