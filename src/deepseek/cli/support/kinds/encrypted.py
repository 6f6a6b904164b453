"""`serve --encrypted` and `predict --encrypted`: the server never sees a row. Other options do not apply."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import click

from deepseek.cli.support import output

SERVE_HELP = "Answer encrypted rows alone, of one linear bundle: predict --encrypted asks."
PREDICT_HELP = "BUNDLE is the URL of serve --encrypted, and --key the secret key: a file, made where there is none."
DEFAULT_PORT = 8000


def encrypted_serving(command: Callable[..., None]) -> Callable[..., None]:
    """The verb `serve` with --encrypted."""

    @click.option("--encrypted", is_flag=True, help=SERVE_HELP)
    @functools.wraps(command)
    def serve(encrypted: bool, **options: Any) -> None:
        if encrypted:
            serve_encrypted_rows(options["bundles"], options["host"], options["port"], options["key"])
        else:
            command(**options)

    return serve


def encrypted_predicting(command: Callable[..., None]) -> Callable[..., None]:
    """The verb `predict` with --encrypted."""

    @click.option("--encrypted", is_flag=True, help=PREDICT_HELP)
    @functools.wraps(command)
    def predict(encrypted: bool, **options: Any) -> None:
        if not encrypted:
            command(**options)
            return
        url = re.sub(r"^(https?):/+", r"\1://", str(options["bundle"]))
        predict_encrypted_rows(
            url, options["data"], options["key"], options["out"], with_flags=options["flags"],
            as_json=options["as_json"],
        )  # fmt: skip

    return predict


def serve_encrypted_rows(bundles: tuple[str, ...], host: str | None, port: int | None, key: Path | None) -> None:
    """Until the process is stopped; the first line on stdout says where."""
    import asyncio
    import json
    import os

    from deepseek.bundle import open_bundle
    from deepseek.privacy.encrypted.service import EncryptedModel, serve_encrypted

    if len(bundles) != 1:
        raise click.UsageError(f"--encrypted serves one BUNDLE, and there are {len(bundles)}")
    bundle = open_bundle(bundles[0], key=key)
    model = EncryptedModel(bundle)

    def announce(url: str) -> None:
        ready = {"event": "ready", "url": url, "models": [bundle.manifest.name], "pid": os.getpid(), "encrypted": True}
        click.echo(json.dumps(ready))

    asyncio.run(serve_encrypted(model, host or "127.0.0.1", DEFAULT_PORT if port is None else port, announce))


def predict_encrypted_rows(
    url: str, data: Path, key: Path | None, out: Path | None, *, with_flags: bool, as_json: bool
) -> None:
    """Answers of the rows of a table into `out`, or on stdout."""
    from deepseek.cli.support.scoring import score
    from deepseek.cli.support.writers import RecordsWriter, check_suffix, open_writer
    from deepseek.data import read_table
    from deepseek.privacy.encrypted.asker import EncryptedAsker

    if key is None:
        raise click.UsageError("--encrypted needs --key: the file of the secret key, made where there is none")
    if out is not None:
        check_suffix(out)
    table, is_new, records = read_table(data), not key.exists(), RecordsWriter()
    with closing(EncryptedAsker.open(url, key)) as asker:
        if is_new:
            output.note(f"{key}: a new secret key. Who has it reads all rows encrypted by it: keep it secret.")
        with nullcontext(records) if as_json and out is None else open_writer(out) as writer:
            score(lambda rows, _: asker.predict(rows), [table], writer, with_flags=with_flags)
        result: dict[str, object] = {"url": url, "digest": asker.published.digest, "num_rows": table.num_rows}
    result |= {"predictions": records.rows} if out is None else {"out": str(out)}
    if as_json:
        output.emit(result, as_json)
    elif out is not None:
        output.note(
            f"{output.format_value(table.num_rows)} rows scored into {out}, none of which the server could read"
        )
