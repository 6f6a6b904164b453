"""Verify every bundle that some files belong to: for a pre-commit hook, which is told the files that changed, and for a
GitHub Action, which is told folders.

    python -m deepseek.integrations.verify_files loans/model.onnx cards/bundle.json
    python -m deepseek.integrations.verify_files --key release-key.pub .

A file belongs to the nearest folder above it that holds bundle.json; of a folder, all bundles in it are verified. Exit
code 0 when all are whole (or none is there), 3 when one is not, 2 for a path that is not there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from deepseek.bundle import verify_bundle
from deepseek.bundle.paths import MANIFEST
from deepseek.errors import CheckError, DeepseekError, MissingError
from deepseek.look.terminal import escape_for_terminal

_SKIPPED_FOLDERS = frozenset([".git", ".venv", "node_modules", "__pycache__"])


def find_bundles(paths: Sequence[Path]) -> list[Path]:
    """The folders of all bundles that `paths` belong to or hold, each once, in order. A file that was deleted belongs
    to the bundle that it was in. MissingError for a path without a folder."""
    bundles: set[Path] = set()
    for path in paths:
        if path.is_dir():
            bundles |= set(_bundles_below(path))
        elif not path.parent.is_dir():
            raise MissingError(f"there is no {path}", expected="files or folders", fix="check the path")
        bundles |= {folder for folder in [*path.parents, path] if (folder / MANIFEST).is_file()}
    return sorted(bundles)


def _bundles_below(folder: Path) -> Iterator[Path]:
    for manifest in sorted(folder.rglob(MANIFEST)):
        if not _SKIPPED_FOLDERS & set(manifest.relative_to(folder).parts):
            yield manifest.parent


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--key", type=click.Path(path_type=Path), help="Public key that must have signed each of them.")
@click.option("--require", is_flag=True, help="Exit code 3 when there is no bundle at all.")
def command(paths: tuple[Path, ...], key: Path | None, require: bool) -> None:
    """Verify every bundle that PATHS belong to or hold."""
    try:
        bundles = find_bundles(paths)
        problems = {bundle: verify_bundle(bundle, key=key) for bundle in bundles}
    except DeepseekError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    for bundle, found_problems in problems.items():
        click.echo(f"{bundle}: {'whole' if not found_problems else ''}")
        for problem in found_problems:
            click.echo(f"  {escape_for_terminal(problem, one_line=True)}")
    if any(problems.values()) or (require and not bundles):
        sys.exit(CheckError.exit_code)


if __name__ == "__main__":
    command()
