"""`deepseek label rules`: labels by rules, with their coverage, conflicts and accuracy."""

from __future__ import annotations

from pathlib import Path

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FILE, FOLDER

EPILOG = """\b
Examples:
  deepseek label rules claims rules.toml
  deepseek label rules claims rules.toml --apply
  deepseek label rules claims rules.py --allow-code --json

\b
A rule in TOML:
  [[rules]]
  name = "smoke"
  label = "fire"
  keywords = ["smoke", "burned"]   # or regex = "...", or column = "amount" with at_least and at_most
A model that says the label: bundle = "claims-2025" with at_least = 0.8, or url = "http://..." with model = "NAME".
A function in Python is called rule_NAME, takes a row and returns a label or None.
"""


@click.command(epilog=EPILOG, short_help="Label by rules.")
@click.argument("project", type=FOLDER)
@click.argument("rules", type=FILE)
@click.option("--apply", "keep", is_flag=True, help="Keep what they are certain of, with its confidence, for ship.")
@click.option("--allow-code", is_flag=True, help="Run RULES.py: it is code, and has your rights.")
@output.json_option
def command(project: Path, rules: Path, keep: bool, allow_code: bool, as_json: bool) -> None:
    """Ask RULES (TOML, or Python with --allow-code) about the items of PROJECT: how many each labels, where they
    conflict, and how right they are by what people said. Items to test on get no label from rules."""
    from deepseek.automl.label.project.project import Project
    from deepseek.automl.label.rules.apply import run_rules
    from deepseek.extras import need

    need("scipy", extra="tabular")
    with Project.open(project) as opened:
        result = run_rules(opened, rules, allow_code=allow_code, keep=keep)
    for rule in result.rules:
        if rule.num_raised:
            output.warn([f"{rule.name} raised on {rule.num_raised:,} rows, such as: {rule.first_error}"])
    table = output.make_table("rule", "covers", "conflicts", "est. accuracy", "counts", "known")
    for rule in result.rules:
        known = f"{rule.num_right:,} of {rule.num_known:,} [{rule.low:.2f}, {rule.high:.2f}]" if rule.num_known else "–"
        table.add_row(
            output.escape_text(rule.name), f"{100 * rule.coverage:.1f} %", f"{100 * rule.conflicts:.0f} %",
            f"{rule.accuracy:.3f}", f"{rule.weight:.2f}", known,
        )  # fmt: skip
    output.emit(result, as_json, [result.summary(), "", table])
