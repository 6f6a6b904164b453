"""`deepseek learn export`: progress as JSON, labs as pages of a documentation."""

from __future__ import annotations

from pathlib import Path

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FOLDER

EPILOG = """\b
Examples:
  deepseek learn export > progress.json
  deepseek learn export --docs docs/labs
"""


@click.command(epilog=EPILOG, short_help="Write progress, or the labs as documentation.")
@click.option("--docs", type=FOLDER, help="Write the labs as Markdown in both languages into this folder.")
@output.json_option
def command(docs: Path | None, as_json: bool) -> None:
    """Print all gradings and hints that are kept, as one JSON object; or write the tasks of all labs as pages."""
    from deepseek.learn.learner.progress import Progress
    from deepseek.learn.verbs import open_path

    path = open_path()
    if docs is not None:
        from deepseek.learn.page.documentation import write_documentation

        names = write_documentation(path.catalog, path.matrix, docs)
        output.emit({"docs": str(docs), "files": list(names)}, as_json, f"{docs}: {len(names)} pages")
        return
    with Progress.open(path.place) as progress:
        output.emit(progress.export(), as_json=True)
