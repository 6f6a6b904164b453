"""`deepseek serve`: answer over HTTP. Wires what the server only knows by protocol: explainers, metrics and logs."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING

import click

from deepseek.cli.support.cluster import cluster_options
from deepseek.cli.support.history import console_parts, live_states, open_history, own_url
from deepseek.cli.support.kinds.assistants import is_assistant
from deepseek.cli.support.kinds.conversations import ConversationOptions, assistant_routes, open_if_assistant
from deepseek.cli.support.kinds.encrypted import encrypted_serving
from deepseek.cli.support.kinds.fleet import open_fleets
from deepseek.cli.support.opening import split_name
from deepseek.cli.support.options import FILE, FOLDER, first_run_options, operators_option
from deepseek.cli.support.registered import fetch_registered
from deepseek.cli.support.serving import alert_reasons, explainer_of, open_logs, read_settings, reasons_for
from deepseek.cli.support.watching import (
    decision_figures,
    log_engine_choices,
    log_volumes,
    open_compat,
    watch_decisions,
    watch_server,
)

if TYPE_CHECKING:
    from deepseek.cli.support.opening import OpenedModel
    from deepseek.observe.metrics import Metrics
    from deepseek.serve import Settings
    from deepseek.serve.fleet.routes import FleetRoutes
    from deepseek.serve.http.group import GroupMember, Membership
    from deepseek.serve.models.routing import TrafficSplit
    from deepseek.serve.openai.generation import ModelPrecision
    from deepseek.serve.repository.folder import Repository
    from deepseek.serve.scoring.routes import ScoringRoutes

EPILOG = """\b
Examples:
  deepseek serve loans
  deepseek serve credit=loans/v2 cards --port 8123
  deepseek serve welds=model.onnx
  deepseek serve models:/loans/Production
  MODEL_PATH=loans PORT=0 deepseek serve
  deepseek serve cards --state state
  deepseek serve help --hand-over https://desk.example.com/hook

\b
The first line on stdout is {"event": "ready", "url", "models", "pid"}. Ctrl-C or SIGTERM finishes what was accepted.
"""

#: After which a thread of a process with a state gives Python's lock away: between compiled steps it waits 5 ms else.
SWITCH_S = 0.0005
LOSSY = "Let models run in bf16 or int8 where answers move no further, e.g. cosine=0.99,difference=0.1,agreement=0.99."
PREDICTION_LOG = (
    "Keep every row and its answer as Parquet there; inputs=hashed|none, sample=SHARE, days=7, gib=1, flush_s=10.  "
    "[env: PREDICTION_LOG]"
)
UNSURE_TO = "Have rows labeled there that a model is unsure of; share=0.1, hide=COL, files=plain.  [env: UNSURE_TO]"
PROMETHEUS = "Ask there which alerts fire, for the console.  [env: PROMETHEUS_URL]"
METRICS_COMPAT = "Tell metrics under the names of vllm, triton, kserve, too.  [env: METRICS_COMPAT]"
STATE = "Score raw events, too, and remember cards here; of an assistant: its conversations.  [default: BUNDLE.state]"
CONVERSATIONS = "A Redis that keeps an assistant's conversations, for several machines.  [env: CONVERSATIONS]"
HAND_OVER = "Send there what a person is to go on with, signed by HAND_OVER_SECRET.  [env: HAND_OVER]"
LLM_PRECISION = "How models compute that write.  [default: float32 weights, arithmetic as low as the CPU likes]"


def parse_workers(_: click.Context, __: click.Parameter, text: str | None) -> str | int | None:
    """A whole number, or auto."""
    if text is None or text == "auto":
        return text
    if not text.isdecimal() or len(text) > 6:
        raise click.BadParameter(f"{text!r} is not a number of processes. Expected: auto, or a whole number from 0")
    return int(text)


def mib_to_bytes(_: click.Context, __: click.Parameter, mib: int | None) -> int | None:
    """MiB in bytes."""
    return None if mib is None else mib << 20


@click.command(epilog=EPILOG, short_help="Answer over HTTP.")
@click.argument("bundles", nargs=-1, metavar="[NAME=]BUNDLE...")
@click.option("--host", help="Address to listen on.  [env: HOST; default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65_535), help="0 picks a free one.  [env: PORT; default: 8000]")
@click.option("--grpc-port", type=click.IntRange(0, 65_535), help="Serve gRPC there, too.  [env: GRPC_PORT]")
@click.option("--batch-size", type=click.IntRange(1), help="Rows computed together.  [env: BATCH_SIZE; default: 32]")
@click.option(
    "--workers", callback=parse_workers, help="Engine processes; auto: one a core.  [env: WORKERS; default: auto]"
)
@click.option(
    "--front-ends", type=click.IntRange(1, 64), help="Processes that take requests.  [env: FRONT_ENDS; default: 1]"
)
@click.option("--allowed-hosts", metavar="NAME,...", help="Names to be asked by; * for any.  [env: ALLOWED_HOSTS]")
@click.option("--member", hidden=True, help="Of a group: the socket to its parent, and the place in it.")
@click.option(
    "--api-keys",
    "--api-key-file",
    "api_keys",
    type=FILE,
    help="sha256 of keys, one a line: HASH name=N requests=100/s rows=9/m.  [env: DEEPSEEK_API_KEYS_FILE]",
)
@click.option("--tls-cert", type=FILE, help="Certificate and chain, PEM: serve https.  [env: TLS_CERT]")
@click.option("--tls-key", type=FILE, help="Its key, PEM. SIGHUP reads both again.  [env: TLS_KEY]")
@click.option("--audit-log", type=FILE, help="Append one line per request to this file.")
@click.option("--prediction-log", metavar="FOLDER[,NAME=VALUE]", help=PREDICTION_LOG)
@click.option("--unsure-to", metavar="PROJECT[,NAME=VALUE]", help=UNSURE_TO)
@click.option("--metrics-compat", metavar="NAME,...", help=METRICS_COMPAT)
@click.option("--prometheus", metavar="URL", help=PROMETHEUS)
@click.option("--otlp", metavar="URL[,sample=SHARE]", help="Send traces there.  [env: OTLP]")
@click.option("--log-level", help="debug, info, warning, error, off.  [env: DEEPSEEK_LOG_LEVEL; default: info]")
@click.option("--timeout", type=float, help="Seconds after which a request is given up.  [default: 30]")
@click.option("--max-rows", type=click.IntRange(1), help="Rows of one request.  [default: 16384]")
@click.option(
    "--max-body", type=click.IntRange(1, 1_024), callback=mib_to_bytes, metavar="MIB",
    help="Of a request.  [default: 32]",
)  # fmt: skip
@click.option("--max-connections", type=click.IntRange(1), help="Of HTTP at a time; then 503.  [default: 4096]")
@click.option("--engine-timeout", type=float, help="Seconds for a batch; then its process is replaced.  [default: 60]")
@first_run_options
@click.option("--coalesce", is_flag=True, default=None, help="Compute identical requests once.  [env: COALESCE]")
@click.option("--repository", type=FOLDER, help="Load from this folder's NAME or NAME/VERSION while serving, too.")
@click.option("--watch", type=float, metavar="SECONDS", help="Look into the repository so often for what has changed.")
@click.option("--route", "routes", multiple=True, metavar="M=V:SHARE,...", help="Deal M's requests to its versions.")
@click.option("--json", is_flag=True, expose_value=False, help="The ready line is JSON in any case.")
@click.option("--lossy", metavar="LIMITS", help=LOSSY)
@click.option("--lossy-texts", type=FILE, help="Texts to measure that on, one a line.  [default: built in]")
@click.option("--lossy-rows", type=FILE, help="Rows to measure that on: a table for bundles, .npz for ONNX files.")
@click.option("--llm-precision", type=click.Choice(["float32", "bfloat16", "int8"]), help=LLM_PRECISION)
@click.option("--state", type=FOLDER, help=STATE)
@click.option("--dialogue", type=FILE, help="Slots and flows of an assistant.  [default: those in its bundle]")
@click.option("--conversations", "conversations_url", metavar="URL", help=CONVERSATIONS)
@click.option("--keep-days", type=click.IntRange(1, 36_500), help="Forget conversations after that.  [env: KEEP_DAYS]")
@click.option("--hand-over", "hand_over_url", metavar="URL", help=HAND_OVER)
@click.option("--key", type=FILE, help="Refuse bundles that this public key did not sign.")
@operators_option
@cluster_options
@encrypted_serving
def command(
    bundles: tuple[str, ...], host: str | None, port: int | None, grpc_port: int | None, batch_size: int | None,
    workers: str | int | None, front_ends: int | None, allowed_hosts: str | None, member: str | None,
    api_keys: Path | None, tls_cert: Path | None, tls_key: Path | None, audit_log: Path | None,
    prediction_log: str | None, metrics_compat: str | None, otlp: str | None, prometheus: str | None,
    log_level: str | None, timeout: float | None, max_rows: int | None,
    max_body: int | None, max_connections: int | None, engine_timeout: float | None, open_timeout: float,
    open_memory: int, coalesce: bool | None, lossy: str | None, lossy_texts: Path | None, lossy_rows: Path | None,
    llm_precision: ModelPrecision | None, state: Path | None, key: Path | None, repository: Path | None,
    watch: float | None, routes: tuple[str, ...], dialogue: Path | None, conversations_url: str | None,
    keep_days: int | None, hand_over_url: str | None, unsure_to: str | None, allow_operators: Path | None,
) -> None:  # fmt: skip
    """Serve bundles over HTTP: records and tensors in, answers, reasons and metrics out.

    Without BUNDLE the environment's MODEL_PATH is served. Open the printed URL for a console.
    """
    settings = read_settings(
        host=host, port=port, grpc_port=grpc_port, batch_size=batch_size, workers=workers, front_ends=front_ends,
        log_level=log_level, timeout_s=timeout, max_rows=max_rows, max_connections=max_connections,
        engine_timeout_s=engine_timeout, coalesce=coalesce, max_body_bytes=max_body, allowed_hosts=allowed_hosts,
        api_keys_file=api_keys and str(api_keys), tls_cert=tls_cert and str(tls_cert), tls_key=tls_key and str(tls_key),
        prediction_log=prediction_log, metrics_compat=metrics_compat, otlp=otlp, prometheus_url=prometheus,
        conversations_url=conversations_url, keep_days=keep_days, hand_over_url=hand_over_url, unsure_to=unsure_to,
        allow_operators=allow_operators and str(allow_operators),
    )  # fmt: skip
    chosen = tuple(map(fetch_registered, bundles or ((settings.model_path,) if settings.model_path else ())))
    check_what_is_served(chosen, repository, state, settings)
    lifecycle = read_lifecycle(repository, watch, routes, key, settings)
    from deepseek.engines.first_run import FirstRunLimits, use_limits
    from deepseek.serve.run import bind

    membership, settings = join_group(member, settings)
    shared = settings.front_ends > 1
    listening = bind(settings.host, settings.port, shared=shared, first=member is None)
    with use_limits(FirstRunLimits(open_timeout, open_memory << 20)), listening as listener:
        check_grpc_port(settings, first=member is None)
        if shared and member is None:
            run_front_ends(settings, listener, lifecycle)
        else:
            kept = ConversationOptions.of(settings, state, dialogue)
            models = open_served_models(chosen, key, settings, (lossy, lossy_texts, lossy_rows), llm_precision, kept)
            fleets = open_fleets(models, state, settings, key)
            scoring = () if fleets else open_scoring(models, state, settings, key)
            run_server(models, settings, listener, audit_log, membership, lifecycle, scoring, fleets)


def open_served_models(
    chosen: tuple[str, ...],
    key: Path | None,
    settings: Settings,
    lossy: tuple[str | None, Path | None, Path | None],
    llm_precision: ModelPrecision | None,
    conversations: ConversationOptions | None = None,
) -> dict[str, OpenedModel]:
    """Models by name, opened; `lossy`: the limits of less precise engines, and texts and rows to measure them on;
    `conversations`: of an assistant."""
    from deepseek.cli.support.opening import open_models, parse_lossy_options

    gate = parse_lossy_options(*lossy)
    return open_models(
        chosen, key, lazy=settings.workers > 0, gate=gate, llm_precision=llm_precision or "auto",
        open_more=partial(open_if_assistant, key=key, options=conversations or ConversationOptions()),
        operators_key=settings.operators_key,
    )  # fmt: skip


def check_what_is_served(
    chosen: tuple[str, ...], repository: Path | None, state: Path | None, settings: Settings
) -> None:
    """Say what does not go together, before any work."""
    if not chosen and repository is None:
        raise click.UsageError("give a BUNDLE, or set MODEL_PATH, or give a --repository")
    if state is None:
        return
    if len(chosen) != 1:
        raise click.UsageError(f"--state is of one BUNDLE, and there are {len(chosen)}")
    if settings.front_ends > 1 and not is_assistant(split_name(chosen[0])[1]):
        raise click.UsageError("one process keeps a state of cards: --state goes with --front-ends 1")


def open_scoring(
    models: Mapping[str, OpenedModel], state: Path | None, settings: Settings, key: Path | None
) -> Sequence[ScoringRoutes]:
    """The routes that score raw events with a state in this folder; none without a state."""
    from deepseek.engines import Runtime
    from deepseek.errors import InputError
    from deepseek.serve.assistant.model import AssistantModel

    if state is None or any(isinstance(model, AssistantModel) for model in models.values()):
        return ()
    from deepseek.serve.scoring.queue import ScoringQueue
    from deepseek.serve.scoring.routes import ScoringRoutes
    from deepseek.serve.scoring.scorer import EventScorer

    ((name, model),) = models.items()
    if not isinstance(model, Runtime):
        raise InputError(f"{name!r} reads no events", expected="a bundle of a table", fix="serve it without --state")
    scorer = EventScorer.open(model.bundle.path, state, key=key)
    scorer.warm_up()
    sys.setswitchinterval(SWITCH_S)
    return [ScoringRoutes(name, ScoringQueue(scorer, settings.max_queued_rows, alert_reasons(scorer)))]


def join_group(member: str | None, settings: Settings) -> tuple[Membership | None, Settings]:
    """What a group has told this process, and the settings with the ports that it holds."""
    if member is None:
        return None, settings
    from deepseek.serve.http.group import Membership

    membership = Membership.read(member)
    return membership, replace(settings, port=membership.port, grpc_port=membership.grpc_port or None)


def check_grpc_port(settings: Settings, *, first: bool) -> None:
    """InputError when the port of gRPC is taken, which gRPC itself would find when the models are open."""
    from deepseek.serve.run import bind

    if first and settings.grpc_port:
        bind(settings.host, settings.grpc_port, option="--grpc-port").close()


def run_front_ends(settings: Settings, listener: socket, lifecycle: ModelLifecycle) -> None:
    """Start the front ends of a group, which listen themselves, and keep them, and the ports for them."""
    from deepseek.running import announce
    from deepseek.serve.http.group import FrontEndGroup, run_group
    from deepseek.serve.run import bind, print_ready_line

    renews = bool(settings.api_keys_file or settings.tls_cert)
    port, grpc_port = listener.getsockname()[1], 0
    with ExitStack() as sockets:
        if settings.grpc_port is not None:
            grpc = sockets.enter_context(bind(settings.host, settings.grpc_port, option="--grpc-port"))
            grpc_port = grpc.getsockname()[1]
        sockets.enter_context(announce("serve", "", own_url(settings, listener)))
        run_group(
            FrontEndGroup(
                port, settings.front_ends, print_ready_line, grpc_port=grpc_port, renews=renews,
                repository=lifecycle.repository, splits=lifecycle.splits,
            )
        )  # fmt: skip


def run_server(
    models: Mapping[str, OpenedModel],
    settings: Settings,
    listener: socket,
    audit_log: Path | None = None,
    membership: Membership | None = None,
    lifecycle: ModelLifecycle | None = None,
    scoring: Sequence[ScoringRoutes] = (),
    fleets: Sequence[FleetRoutes] = (),
) -> None:
    """Serve until a signal comes, with metrics, logs and explainers. A member of a group answers for the others too."""
    from deepseek.observe.live import LiveStats
    from deepseek.observe.metrics import Metrics
    from deepseek.running import announce
    from deepseek.serve import Pages, create_app
    from deepseek.serve.http.group import GroupMember
    from deepseek.serve.run import run

    metrics = Metrics(with_steps="kserve" in (settings.metrics_compat or ""))
    live, lifecycle = LiveStats(), lifecycle or ModelLifecycle()
    child = None if membership is None else GroupMember(membership)
    if membership is not None and child is not None:
        child.state = lambda: (metrics.exposition().decode(), history.state().to_list())
        audit_log = audit_log and audit_log.with_name(f"{audit_log.name}.{membership.index}")  # a chain has one writer
    access = (logs := open_logs(settings, audit_log, models)).access
    compat = open_compat(settings, metrics, lambda: app)
    volumes = log_volumes(settings, audit_log, [*scoring, *fleets])
    history = open_history(live, lambda: app, logs, volumes, settings.tls_cert, child)
    app = create_app(
        models,
        settings=settings,
        sinks=[metrics, *compat, live, *logs.sinks],
        explainer_for=explainer_of,
        reason_codes=reasons_for,
        explain_module="deepseek.explain.process",
        pages=Pages(
            metrics=lambda: merged_exposition(metrics, child),
            openmetrics=lambda: merged_exposition(metrics, child, openmetrics=True),
            stats=lambda: {**live.snapshot(live_states(child)), **decision_figures(scoring)},
            refresh=None if child is None else child.refresh_counts,
            more=console_parts(history, settings, child, lambda: app, scoring),
        ),
        parent=None if child is None else child.channel,
        repository=lifecycle.repository,
        splits=lifecycle.splits,
        more_routes=[*scoring, *fleets, *assistant_routes(models)],
        row_sink=logs.row_sink,
    )
    watch_server(metrics, app, volumes, [*scoring, *fleets], logs)
    for routes in scoring:
        watch_decisions(routes, models[routes.name], metrics, access)
    log_engine_choices(models, access)
    try:
        with nullcontext() if child else announce("serve", ", ".join(models), own_url(settings, listener)):
            run(app, listener, child)
    finally:
        for log in logs.all:
            log.close()


@dataclass(frozen=True, slots=True)
class ModelLifecycle:
    """Models that come and go while the server runs."""

    repository: Repository | None = None  # what may be loaded
    splits: Mapping[str, TrafficSplit] = field(default_factory=dict)  # by model: the share of each of its versions


def read_lifecycle(
    repository: Path | None, watch: float | None, routes: tuple[str, ...], key: Path | None, settings: Settings
) -> ModelLifecycle:
    """From --repository, --watch and --route. InputError for options that do not go together."""
    from deepseek.cli.support.opening import open_checked
    from deepseek.errors import InputError
    from deepseek.serve.models.routing import parse_split
    from deepseek.serve.repository.folder import Repository

    splits: dict[str, TrafficSplit] = {}
    for name, split in map(parse_split, routes):
        if name in splits:
            raise InputError(
                f"there are two routes for {name!r}", expected="one for each model", fix="write one --route"
            )
        splits[name] = split
    if watch is not None and repository is None:
        raise InputError("--watch has nothing to watch", expected="a folder", fix="give --repository DIR, too")
    opener = partial(open_checked, key=key, lazy=settings.workers > 0, operators_key=settings.operators_key)
    folder = None if repository is None else Repository(repository, opener, watch)
    return ModelLifecycle(folder, splits)


def merged_exposition(metrics: Metrics, child: GroupMember | None, *, openmetrics: bool = False) -> bytes:
    """For Prometheus: of this front end, and of the others of its group."""
    from deepseek.observe.merge import merge_expositions, merge_openmetrics

    if child is None or not child.others:
        return metrics.openmetrics() if openmetrics else metrics.exposition()
    texts = {key: text.encode() for key, (text, _) in child.others.items()}
    ended = [text for key, text in texts.items() if key in child.ended]
    others = [text for text in texts.values() if text not in ended]
    if openmetrics:
        return merge_openmetrics(metrics.registry, others, ended)
    return merge_expositions([metrics.exposition(), *others], ended)
