"""The shell's way in: a table of verbs, and one place where an error becomes an exit code.

`deepseek VERB` imports cli/VERB.py and nothing else; that module's `command` is the verb.

Exit codes: 0 done; 1 our own bug; 2 bad usage or input; 3 a stated limit or check is not met; 130 interrupted.
With --json a failure prints {"error": {"code", "message", "expected", "fix"}} on stdout as well.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import click

from deepseek.cli.support.lazy_group import LazyGroup
from deepseek.cli.support.output import fail, silence
from deepseek.errors import DeepseekError
from deepseek.version import __version__

#: Each verb and its line of help, in the order in which a user meets them.
VERBS: dict[str, str] = {
    "data": "Look at a table and its files: a card, a page, or what is wrong with it.",
    "label": "Label rows in a page; what to label next, and when to stop.",
    "ship": "Data in, evidence-carrying bundle out.",
    "train": "Train a torch module of your own.",
    "inspect": "Say what a bundle holds.",
    "verify": "Check every byte of a bundle, and its signature.",
    "evaluate": "Measure a bundle on labelled data.",
    "compare": "Say which bundle is better, and whether by more than noise.",
    "predict": "Score the rows of a file.",
    "explain": "Say why: attributions as JSON and as a page.",
    "cite": "Cite the clauses that support a text.",
    "review": "Review a document by a checklist.",
    "convert": "Make a model of another framework servable.",
    "compress": "Make a model smaller and faster, within limits.",
    "export": "Make a model that runs on a small device.",
    "serve": "Answer over HTTP.",
    "stream": "Score raw events of a stream.",
    "observe": "Watch a server: metrics, dashboards, alerts.",
    "bench": "Measure a server under load.",
    "federate": "Learn one model from several owners' rows.",
    "recipe": "Run an industry solution.",
    "operator": "Begin an operator of your own.",
    "learn": "Learn by labs that grade themselves, up to a signed certificate.",
    "plan": "Split a model over devices: memory, latency, tokens a second.",
    "keygen": "Make a key pair that signs bundles.",
    "migrate": "Bring a bundle to the current format.",
    "doctor": "Say what is installed and what is missing.",
}
TRACEBACK = "DEEPSEEK_TRACEBACK"


@click.group(
    cls=LazyGroup,
    package="deepseek.cli",
    subcommands=VERBS,
    noun="verb",
    heading="Verbs",
    subcommand_metavar="VERB ...",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, "-V", "--version", prog_name="deepseek")
def cli() -> None:
    """Raw data to a served, explained, watched model.

    \b
    deepseek ship loans.csv --target default --out loans
    deepseek serve loans
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code. An exception that is not caught here is a bug of ours."""
    args = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in args
    sys.excepthook = _report_bug
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - open as long as the process
    if sys.stdout is None:
        return fail({"code": "bad_input", "message": "stdout is closed", **_WRITABLE}, 2, as_json=False)
    try:
        with cli.make_context("deepseek", args or ["--help"]) as context:
            cli.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except DeepseekError as error:
        return fail(error.to_dict(), error.exit_code, as_json)
    except click.ClickException as error:
        return fail({"code": "bad_usage", **_usage_error(error)}, 2, as_json)
    except (click.Abort, KeyboardInterrupt):
        return fail({"code": "interrupted", "message": "interrupted", "expected": "", "fix": ""}, 130, as_json)
    except BrokenPipeError:
        # The reader has seen enough, as in `| head`.
        silence(sys.stdout)
        return 0
    except OSError as error:
        return fail({"code": "bad_input", **_os_error(error)}, 2, as_json)
    return 0


_WRITABLE = {"expected": "a stdout and files with room", "fix": "send the output elsewhere, or to /dev/null"}


def _usage_error(error: click.ClickException) -> dict[str, str]:
    context = error.ctx if isinstance(error, click.UsageError) else None
    usage = " ".join((context.command.get_usage(context) if context else "deepseek VERB ...").split())
    path = context.command_path if context else "deepseek"
    return {
        "message": error.format_message(),
        "expected": usage.removeprefix("Usage: "),
        "fix": f"see {path} --help",
    }


def _os_error(error: OSError) -> dict[str, str]:
    """A disk that is full, a folder that may not be written: the user's machine, not our bug."""
    reason = error.strerror or str(error)
    if error.filename is None:
        return {"message": f"the output cannot be written: {reason}", **_WRITABLE}
    return {
        "message": f"{error.filename}: {reason}",
        "expected": "a place that exists, with leave to read and to write",
        "fix": "mend its rights, or choose another place",
    }


def _report_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Python's last word before exit code 1: one line instead of a traceback, unless it is asked for."""
    if os.environ.get(TRACEBACK) == "1":
        sys.__excepthook__(kind, error, trace)
        return
    message = f"{kind.__name__}: {error}".rstrip(": ")
    fix = f"set {TRACEBACK}=1 to see where, and please report it: this is a bug of ours"
    fail({"code": "internal", "message": message, "expected": "", "fix": fix}, 1, "--json" in sys.argv)
