"""`deepseek learn`: the learning path. One file for each command; alone it says where one is and what comes next."""

from __future__ import annotations

import click

from deepseek.cli.support import output
from deepseek.cli.support.lazy_group import LazyGroup

SUBCOMMANDS = {
    "start": "Begin a lab: a folder with the task and data of one's own.",
    "check": "Grade a lab: what holds, what does not, and a hint.",
    "hints": "Give the next hint for what does not hold yet.",
    "matrix": "Show the skills, by what was passed.",
    "certify": "Make a signed certificate of a level that was passed.",
    "serve": "Serve the path as a page.",
    "export": "Write progress as JSON, or the labs as pages of a documentation.",
    "labs": "List labs, or check a folder of one's own.",
}

EPILOG = """\b
Examples:
  deepseek learn
  deepseek learn start first_bundle
  deepseek learn check first_bundle
  deepseek learn certify junior --name "Ann Li" --key school-key

\b
DEEPSEEK_LABS names folders with labs of one's own. Progress stays on this machine.
"""


@click.group(
    cls=LazyGroup, package="deepseek.cli.learn", subcommands=SUBCOMMANDS, noun="command", heading="Commands",
    subcommand_metavar="[COMMAND] ...", epilog=EPILOG, short_help="Learn by labs that grade themselves.",
    invoke_without_command=True,
)  # fmt: skip
@output.json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Learn by labs that run here, grade what was made and end in a signed certificate. Without a command: where one is
    and what comes next. Each command takes --json."""
    if ctx.invoked_subcommand is not None:
        return
    from deepseek.cli.learn.language import warn_set_aside
    from deepseek.learn.verbs import open_path, overview

    result = overview(open_path())
    warn_set_aside(result.set_aside)
    parts: list[object] = [result.summary()]
    for level, table in result.levels.items():
        states = result.of_level(level)
        hours = sum(state.lab.table.hours for state in states)
        more = "" if result.is_whole(level) else f" ({len(states)} of {table.num_labs} labs are there in this version)"
        parts += ["", f"{table.title.en}: {hours:g} hours{more}"]
        if states:
            rows = output.make_table("lab", "", "hours", "score", "title", value_justify="left")
            for state in states:
                score = state.passed.score if state.passed else state.last_score
                shown = "" if score is None else str(score)
                rows.add_row(state.lab.id, state.status, f"{state.lab.table.hours:g}", shown, state.lab.table.title.en)
            parts.append(rows)
    output.emit(result, as_json, parts)
