"""`deepseek serve`: answer over HTTP. Wires what the server only knows by protocol: explainers, metrics and logs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, Any

import click

from deepseek.cli.options import FILE

if TYPE_CHECKING:
    from deepseek.contracts import Attribution, Record
    from deepseek.engines import Runtime
    from deepseek.observe.metrics import Metrics
    from deepseek.serve import Settings
    from deepseek.serve.generation import GenerativeModel
    from deepseek.serve.group import Child, Membership
    from deepseek.serve.text import TextFace

EPILOG = """\b
Examples:
  deepseek serve loans
  deepseek serve credit=loans/v2 cards --port 8123
  MODEL_PATH=loans PORT=0 deepseek serve

\b
The first line on stdout is {"event": "ready", "url", "models", "pid"}. Ctrl-C or SIGTERM finishes what was accepted.
"""


def workers_of(_: click.Context, __: click.Parameter, text: str | None) -> str | int | None:
    """A whole number, or auto."""
    if text is None or text == "auto":
        return text
    if not text.isdigit() or len(text) > 6:
        raise click.BadParameter(f"{text!r} is not a number of processes. Expected: auto, or a whole number from 0")
    return int(text)


@click.command(epilog=EPILOG, short_help="Answer over HTTP.")
@click.argument("bundles", nargs=-1, metavar="[NAME=]BUNDLE...")
@click.option("--host", help="Address to listen on.  [env: HOST; default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65_535), help="0 picks a free one.  [env: PORT; default: 8000]")
@click.option("--grpc-port", type=click.IntRange(0, 65_535), help="Serve gRPC there, too.  [env: GRPC_PORT]")
@click.option("--batch-size", type=click.IntRange(1), help="Rows computed together.  [env: BATCH_SIZE; default: 32]")
@click.option(
    "--workers", callback=workers_of, help="Engine processes; auto: one a core.  [env: WORKERS; default: auto]"
)
@click.option(
    "--front-ends", type=click.IntRange(1, 64), help="Processes that take requests.  [env: FRONT_ENDS; default: 1]"
)
@click.option("--member", hidden=True, help="Of a group: the socket to its parent, and the place in it.")
@click.option("--api-keys", type=FILE, help="sha256 of accepted keys, one a line.  [env: DEEPSEEK_API_KEYS_FILE]")
@click.option("--audit-log", type=FILE, help="Append one line per request to this file.")
@click.option("--log-level", help="debug, info, warning, error, off.  [env: DEEPSEEK_LOG_LEVEL; default: info]")
@click.option("--timeout", type=float, help="Seconds after which a request is given up.  [default: 30]")
@click.option("--max-rows", type=click.IntRange(1), help="Rows of one request.  [default: 16384]")
@click.option("--json", is_flag=True, expose_value=False, help="The ready line is JSON in any case.")
@click.option("--key", type=FILE, help="Refuse bundles that this public key did not sign.")
def command(
    bundles: tuple[str, ...],
    host: str | None,
    port: int | None,
    grpc_port: int | None,
    batch_size: int | None,
    workers: str | int | None,
    front_ends: int | None,
    member: str | None,
    api_keys: Path | None,
    audit_log: Path | None,
    log_level: str | None,
    timeout: float | None,
    max_rows: int | None,
    key: Path | None,
) -> None:
    """Serve bundles over HTTP: records and tensors in, answers, reasons and metrics out.

    Without BUNDLE the environment's MODEL_PATH is served. Open the printed URL for a console.
    """
    settings = read_settings(
        host=host, port=port, grpc_port=grpc_port, batch_size=batch_size, workers=workers, front_ends=front_ends,
        log_level=log_level, timeout_s=timeout, max_rows=max_rows,
        api_keys_file=None if api_keys is None else str(api_keys),
    )  # fmt: skip
    chosen = bundles or ((settings.model_path,) if settings.model_path else ())
    if not chosen:
        raise click.UsageError("give a BUNDLE, or set MODEL_PATH")
    from deepseek.serve.run import bind

    membership = None
    if member is not None:
        from deepseek.serve.group import Membership

        membership = Membership.read(member)
        settings = replace(settings, port=membership.port)
    shared = settings.front_ends > 1
    with bind(settings.host, settings.port, shared=shared, first=member is None) as listener:
        if shared and member is None:
            lead(settings.front_ends, listener)
        else:
            models = open_models(chosen, key, lazy=settings.workers > 0)
            answer(models, settings, listener, audit_log, membership)


def lead(num_front_ends: int, listener: socket) -> None:
    """Start the front ends of a group, which listen themselves, and keep them."""
    from deepseek.serve.group import run_group
    from deepseek.serve.run import print_ready

    run_group(listener.getsockname()[1], num_front_ends, print_ready)


def read_settings(**given: Any) -> Settings:
    """Settings from the environment and the options that are given; says what the server lacks before any work."""
    from deepseek.extras import need

    for module in ("httptools", "prometheus_client"):
        need(module, extra="serve")
    from deepseek.serve import Settings

    return Settings.read(os.environ, **given)


def answer(
    models: Mapping[str, Runtime | TextFace | GenerativeModel],
    settings: Settings,
    listener: socket,
    audit_log: Path | None = None,
    membership: Membership | None = None,
) -> None:
    """Serve until a signal comes, with metrics, logs and explainers. A member of a group answers for the others too."""
    from deepseek.observe.audit import AuditLog
    from deepseek.observe.live import LiveStats
    from deepseek.observe.logs import AccessLog
    from deepseek.observe.metrics import Metrics
    from deepseek.serve import Pages, create_app
    from deepseek.serve.group import Child
    from deepseek.serve.run import run

    metrics, live = Metrics(), LiveStats()
    child = None
    if membership is not None:
        child = Child(membership)
        if membership.place:
            settings = replace(settings, grpc_port=None)  # its port has one owner
        child.state = lambda: [metrics.exposition().decode(), live.state()]
        audit_log = audit_log and audit_log.with_name(f"{audit_log.name}.{membership.place}")  # a chain has one writer
    access = AccessLog(settings.log_level)
    logs: list[AccessLog | AuditLog] = [access]
    if audit_log is not None:
        logs.insert(0, AuditLog(audit_log, tell=access.emit))  # closed first, while the access log still listens
    for log in logs:
        metrics.watch_lost(type(log).__name__, log)
    app = create_app(
        models,
        settings=settings,
        sinks=[metrics, live, *logs],
        explainer_for=explainer_of,
        reason_codes=words_for,
        pages=Pages(metrics=lambda: exposition(metrics, child), stats=lambda: live.snapshot(states(child, 1))),
    )
    try:
        run(app, listener, child)
    finally:
        for log in logs:
            log.close()


def states(child: Child | None, place: int) -> list[Any]:
    """What the other front ends have counted."""
    return [] if child is None else [state[place] for state in child.others.values()]


def exposition(metrics: Metrics, child: Child | None) -> bytes:
    """For Prometheus: of this front end, and of the others of its group."""
    from deepseek.observe.merge import merge_expositions

    others = [text.encode() for text in states(child, 0)]
    return merge_expositions([metrics.exposition(), *others]) if others else metrics.exposition()


def open_models(
    bundles: tuple[str | Path, ...], key: Path | None, *, lazy: bool = False
) -> dict[str, Runtime | TextFace | GenerativeModel]:
    """Runtimes by the name that each is served under: the given one, else the bundle's own. `lazy`: without engines."""
    from deepseek.engines import Runtime
    from deepseek.errors import InputError

    found: dict[str, Any] = {}
    for bundle in bundles:
        name, path = split_name(str(bundle))
        kind = kind_of(path)
        if kind == "bundle":
            runtime: Any = Runtime.open(path, key=key, lazy=lazy)
        else:
            runtime = open_folder(kind, name, path, key)
        name = name or runtime.name
        if name in found:
            raise InputError(
                f"two bundles are named {name!r}", expected="a name for each", fix=f"name one of them: NAME={path}"
            )
        found[name] = runtime
    return found


def kind_of(path: Path) -> str:
    """What stands at a path: a bundle, or a plain folder of a text model or of one that writes text.

    A path that is neither is left to who opens bundles, who says what is wrong with it.
    """
    if not (path / "config.json").is_file() or (path / "bundle.json").exists():
        return "bundle"
    from deepseek.engines.text import describe

    return describe(path).kind


def open_folder(kind: str, name: str, path: Path, key: Path | None) -> TextFace | GenerativeModel:
    """A model from a plain Hugging Face folder, in float32."""
    from deepseek.errors import InputError

    if key is not None:
        raise InputError(
            f"{path} is no bundle, so nobody has signed it", expected="a signed bundle", fix="serve it without --key"
        )
    if kind == "causal-lm":
        from deepseek.serve.generation import GenerativeModel

        return GenerativeModel(name or path.resolve().name, path, cache_folder() / "llm")
    # Its own threads would take the cores from the engines; a batch of sentences takes a millisecond without them.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from deepseek.engines.text import TextModel
    from deepseek.serve.text import TextFace

    return TextFace(TextModel.open(path), {"precision": "f32"})


def cache_folder() -> Path:
    """Where what is made of a model is kept, to be made once."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deepseek"


def split_name(text: str) -> tuple[str, Path]:
    """NAME=PATH, or a path alone, which may hold '=' itself.

    >>> split_name("credit=loans/v2"), split_name("loans")
    (('credit', PosixPath('loans/v2')), ('', PosixPath('loans')))
    """
    name, equals, path = text.partition("=")
    if not equals or "/" in name or Path(text).exists():
        return "", Path(text)
    return name, Path(path)


def explainer_of(runtime: Runtime) -> Any:
    """The explainer of a runtime, made when it is first asked."""
    from deepseek.explain import explainer_for

    # The score of the engine that serves: then the residual covers the difference between engines too.
    return explainer_for(runtime.model, runtime.preprocessor.owners(), score=runtime.score)


def words_for(attribution: Attribution, record: Record, num_reasons: int, *, row: int, outcome: str) -> list[str]:
    """Reason codes; the room that writes them is imported when they are first asked for."""
    from deepseek.explain.reasons import reason_codes

    return reason_codes(attribution, record, num_reasons, row=row, outcome=outcome)
