"""`deepseek recipe`: one verb for all industry solutions. `deepseek recipe NAME` imports cli/recipe/NAME.py alone."""

from __future__ import annotations

from dataclasses import asdict

import click

from deepseek.cli.support import output
from deepseek.cli.support.lazy_group import LazyGroup
from deepseek.recipes.registry import RECIPES

EPILOG = """\b
Examples:
  deepseek recipe --list
  deepseek recipe imagenet --example --out runs/colors
  deepseek recipe ct_record covid-ct --html ct.html
  deepseek recipe process init press --example
"""


@click.group(
    cls=LazyGroup,
    package="deepseek.cli.recipe",
    subcommands={name: recipe.what for name, recipe in RECIPES.items()},
    noun="recipe",
    heading="Recipes",
    invoke_without_command=True,
    subcommand_metavar="NAME ...",
    epilog=EPILOG,
    short_help="Run an industry solution.",
)
@click.option("--list", "is_list", is_flag=True, help="Say what recipes there are.")
@output.json_option
@click.pass_context
def command(context: click.Context, is_list: bool, as_json: bool) -> None:
    """Run an industry solution: from its raw data to what is used. Each takes --example: small data that is made
    here, nothing is downloaded."""
    if context.invoked_subcommand is not None:
        return
    if not is_list:
        raise click.UsageError(f"which recipe? There are {', '.join(RECIPES)}; --list says what each does", context)
    recipes = [{"name": name, **asdict(recipe)} for name, recipe in RECIPES.items()]
    output.emit({"recipes": recipes}, as_json, list_recipes)


def list_recipes() -> object:
    """The table of --list."""
    table = output.make_table("recipe", "what it does", "takes", "makes", value_justify="left")
    for name, recipe in RECIPES.items():
        table.add_row(name, recipe.what, recipe.takes, recipe.makes)
    return table
