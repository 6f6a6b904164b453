"""`deepseek label release`: a model of new labels takes its place behind the one that serves, or is refused."""

from __future__ import annotations

from pathlib import Path

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import BUNDLE, FOLDER

NOT_MET_EXIT_CODE = 3
EPILOG = """\b
Examples:
  deepseek ship claims --out claims-model
  deepseek label release claims claims-model --to models
  deepseek serve --repository models --watch 10 --route claims=v1,v2:shadow
"""


@click.command(epilog=EPILOG, short_help="Release a model where it is better than the one that serves.")
@click.argument("project", type=FOLDER)
@click.argument("bundle", type=BUNDLE)
@click.option("--to", "repository", required=True, type=FOLDER, help="Folder that serve --repository loads from.")
@click.option("--name", help="Of the model there.  [default: the name of PROJECT]")
@click.option("--unless-worse", is_flag=True, help="Also where the difference may be chance.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, 2**31 - 1), help="Of the resamples.")
@output.json_option
@click.pass_context
def command(
    ctx: click.Context, project: Path, bundle: Path, repository: Path, name: str | None, unless_worse: bool, seed: int,
    as_json: bool,
) -> None:  # fmt: skip
    """Compare BUNDLE with the latest version in the repository on the test rows of PROJECT, which were drawn at random
    beforehand. Where it is better it becomes the next version there, and the routes are told by which it gets requests:
    as a shadow first, then a share. Else it is refused with the reason, and the exit code is 3."""
    from deepseek.extras import need

    need("sklearn", extra="tabular")
    need("msgspec", extra="serve")
    from deepseek.automl.label.release import release

    result = release(project, bundle, repository, name or project.resolve().name, unless_worse=unless_worse, seed=seed)
    if result.comparison is not None:
        output.warn(result.comparison.warnings)
    output.emit(result, as_json, [result.summary()])
    if not result.is_released:
        ctx.exit(NOT_MET_EXIT_CODE)
