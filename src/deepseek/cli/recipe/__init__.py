"""`deepseek recipe`: one verb for all industry solutions. `deepseek recipe NAME` imports cli/recipe/NAME.py alone."""

from __future__ import annotations

import importlib
from dataclasses import asdict

import click

from deepseek.cli.support import output
from deepseek.recipes.registry import RECIPES

EPILOG = """\b
Examples:
  deepseek recipe --list
  deepseek recipe imagenet --example --out runs/colors
  deepseek recipe ct_record covid-ct --html ct.html
  deepseek recipe process init press --example
"""


class Recipes(click.Group):
    """Imports a recipe only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(RECIPES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in RECIPES:
            return None
        command: click.Command = importlib.import_module(f"deepseek.cli.recipe.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in RECIPES and not args[0].startswith("-"):
            from deepseek.plugins import did_you_mean

            raise click.UsageError(f"there is no recipe {args[0]!r}.{did_you_mean(args[0], RECIPES)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Recipes"):
            formatter.write_dl([(name, recipe.what) for name, recipe in RECIPES.items()])


@click.group(
    cls=Recipes,
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
