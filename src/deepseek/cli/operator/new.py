"""`deepseek operator new`: a package that works, whose formula is then replaced."""

from __future__ import annotations

from pathlib import Path

import click

from deepseek.cli.support import output
from deepseek.cli.support.options import FOLDER

EPILOG = """\b
Examples:
  deepseek operator new robust_gate
  deepseek operator new robust_gate --out work/gate --from deepseek/examples/custom_operator
"""


@click.command(epilog=EPILOG, short_help="Begin a package for an operator.")
@click.argument("name")
@click.option("--out", type=FOLDER, help="Folder to write.  [default: NAME]")
@click.option("--from", "example", type=FOLDER, help="The example to copy.  [default: that of this clone]")
@output.json_option
def command(name: str, out: Path | None, example: Path | None, as_json: bool) -> None:
    """Write the package NAME: the operator in Python and C++ with its rules for torch, the module that trains it, the
    part that is left in a bundle (numpy, ONNX nodes, exact explanation), and the entry points by which `ship` finds it.

    It is a copy of examples/custom_operator that installs and serves at once. Put your formula into operator.py,
    curve.h, operator.cpp, kernel_onnx.cpp and part.py; tests/test_plugins_contract.py of this project says what does
    not fit yet.
    """
    from deepseek.integrations.operators import new_operator

    done = new_operator(name, out or Path(name), example=example)
    result = {"path": str(done.path), "name": done.name, "files": list(done.files)}
    facts = [("package", done.name), ("files", f"{len(done.files)}")]
    output.emit(
        result, as_json,
        lambda: [f"wrote {done.path}", output.fact_table(facts), f"pip install -e {done.path}",
                 f"deepseek ship --example cancer --candidates {done.name} --out cancer"],
    )  # fmt: skip
