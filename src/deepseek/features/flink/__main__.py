"""`python -m deepseek.features.flink`: the job over a file, in this process or on a cluster that exists."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deepseek.errors import DeepseekError, InputError
from deepseek.extras import need
from deepseek.features.definition import FeatureDefinition
from deepseek.features.tables import DEFINITION_FILE

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Where -D does not say otherwise. In Flink's own process Python reads state without asking another one for it.
DEFAULTS = {
    "python.execution-mode": "thread",
    "execution.checkpointing.interval": "10 s",
    "restart-strategy.type": "fixed-delay",
    "restart-strategy.fixed-delay.attempts": "10",
    "restart-strategy.fixed-delay.delay": "1 s",
}

EPILOG = """\b
Examples:
  python -m deepseek.features.flink features.toml --from payments.ndjson --to answers --checkpoints kept
  python -m deepseek.features.flink cards --from payments.ndjson --to answers --checkpoints kept \\
    -D parallelism.default=2
  flink run -pyexec PYTHON -pyclientexec PYTHON -py src/deepseek/features/flink/__main__.py cards \\
    --from s3://bank/july.ndjson --to s3://bank/answers --checkpoints s3://bank/kept

\b
A message is a line of JSON, an event or a verdict, as for `deepseek stream`. Each is answered by one line, exactly
once: a file of answers appears with the checkpoint that holds them. From Kafka and others, by a job of your own:
  answers = build_job(definition, env.from_source(...))
"""


@click.command(epilog=EPILOG)
@click.argument("definition", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--from", "source", required=True, metavar="FILE", help="Lines of JSON; a path or an address that Flink can read."
)
@click.option("--to", "sink", required=True, metavar="FOLDER", help="Folder for the answers, a path or an address.")
@click.option(
    "--checkpoints",
    required=True,
    metavar="FOLDER",
    help="Folder for checkpoints; on a cluster one that all machines see.",
)
@click.option(
    "-D", "options", multiple=True, metavar="KEY=VALUE", help="A setting of Flink, such as parallelism.default=2."
)
def command(definition: Path, source: str, sink: str, checkpoints: str, options: tuple[str, ...]) -> None:
    """Compute the features of DEFINITION, a TOML file or a bundle that holds one, by Apache Flink. Needs Java, and the
    extra `flink`."""
    features = _read_definition(definition)
    own = {
        "python.executable": sys.executable,
        "python.pythonpath": os.pathsep.join(filter(None, sys.path)),
        "execution.checkpointing.dir": _as_address(checkpoints),
    }
    settings = {**DEFAULTS, **own, **dict(map(_read_setting, options))}
    need("pyflink", extra="flink")
    from pyflink.common import Configuration, Encoder, WatermarkStrategy
    from pyflink.datastream import StreamExecutionEnvironment
    from pyflink.datastream.connectors.file_system import FileSink, FileSource, RollingPolicy, StreamFormat

    from deepseek.features.flink.job import as_lines, build_job

    configuration = Configuration()
    for name, value in settings.items():
        configuration.set_string(name, value)
    environment = StreamExecutionEnvironment.get_execution_environment(configuration)
    files = FileSource.for_record_stream_format(StreamFormat.text_line_format(), _as_address(source)).build()
    messages = environment.from_source(files, WatermarkStrategy.no_watermarks(), "messages").set_parallelism(1)
    lines = as_lines(features, build_job(features, messages))
    encoder = Encoder.simple_string_encoder("UTF-8")
    policy = RollingPolicy.on_checkpoint_rolling_policy()
    lines.sink_to(FileSink.for_row_format(_as_address(sink), encoder).with_rolling_policy(policy).build())
    environment.execute(f"features {features.digest[:12]}")


def _as_address(path: str) -> str:
    return path if "://" in path else Path(path).absolute().as_uri()


def _read_setting(option: str) -> tuple[str, str]:
    name, equals, value = option.partition("=")
    if not equals or not name:
        raise InputError(f"-D {option} sets nothing", expected="KEY=VALUE", fix="-D parallelism.default=2")
    return name, value


def _read_definition(path: Path) -> FeatureDefinition:
    """Of a file, or of a bundle's."""
    file = path / DEFINITION_FILE if path.is_dir() else path
    try:
        return FeatureDefinition.from_toml(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{file} cannot be read: {error}", expected="a definition of features in TOML, or a bundle that holds one",
            fix="make one: deepseek recipe fraud, or card_payments(...).to_toml()",
        ) from error  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Ends the process: 0, or the error's exit code."""
    try:
        command.main(arguments, prog_name="python -m deepseek.features.flink", standalone_mode=False)
    except DeepseekError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
