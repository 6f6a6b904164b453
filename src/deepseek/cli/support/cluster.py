"""`deepseek serve --cluster ray`: what is served on a cluster, and what each replica is made of.

@cluster_options                        # of the verb: with --cluster it goes on here
build(args)  ->  open_app(args)         # where Ray Serve makes the application; in a replica
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from deepseek.cli.support.options import FILE
from deepseek.contracts import JsonObject
from deepseek.errors import InputError, IntegrityError, MissingError

if TYPE_CHECKING:
    from deepseek.cli.support.opening import OpenedModel
    from deepseek.serve import App, Settings
    from deepseek.serve.cluster.plan import ClusterPlan, PlannedModel

BUILD = "deepseek.cli.support.cluster:build"
#: Options that hold on a cluster. All others are refused there, those too that are added later.
CLUSTER_OPTIONS = frozenset(
    [
        "bundles", "host", "port", "batch_size", "workers", "api_keys", "log_level", "timeout", "max_rows", "max_body",
        "engine_timeout", "coalesce", "allowed_hosts", "key", "cluster", "address", "replicas", "config_out",
    ]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """What the command line says of the cluster."""

    address: str | None
    replicas: str | None
    config_out: Path | None


def cluster_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of a cluster for the verb that serves; with --cluster the verb itself does nothing."""

    @click.option("--cluster", type=click.Choice(["ray"]), help="Serve as an application of Ray Serve.")
    @click.option("--address", metavar="HOST:PORT", help="Of a Ray cluster, or auto.  [default: one on this machine]")
    @click.option("--replicas", metavar="MIN:MAX", help="Of the cluster, each with its engines.  [default: 1:cores]")
    @click.option("--config-out", type=FILE, help="Write what `serve deploy` takes to this file, and serve nothing.")
    @functools.wraps(command)
    def serve_or_delegate(
        cluster: str | None, address: str | None, replicas: str | None, config_out: Path | None, **others: Any
    ) -> None:
        if cluster is not None:
            serve_on_cluster(ClusterOptions(address, replicas, config_out), others)
            return
        for option, value in (("--address", address), ("--replicas", replicas), ("--config-out", config_out)):
            if value is not None:
                raise click.UsageError(f"{option} is for a cluster: give --cluster ray, too")
        command(**others)

    return serve_or_delegate


def serve_on_cluster(options: ClusterOptions, verb_options: JsonObject) -> None:
    """Write the configuration, or run it until a signal. `verb_options`: the options of the verb."""
    from deepseek.extras import is_installed, need
    from deepseek.serve.cluster.connection import check_address
    from deepseek.serve.cluster.plan import to_yaml
    from deepseek.serve.cluster.run import run

    check_options(click.get_current_context())
    if options.address is not None:
        check_address(options.address)
    if options.config_out is None and not is_installed("ray"):  # imported later: it reads its environment when it is
        need("ray", extra="ray")
    plan = make_plan(options, verb_options)
    if options.config_out is not None:
        options.config_out.write_text(to_yaml(plan.config()), encoding="utf-8")
    else:
        run(plan, lambda: application(plan), options.address)


def make_plan(options: ClusterOptions, verb_options: JsonObject) -> ClusterPlan:
    """What runs where, from the options and the environment. Every model is opened here first."""
    from deepseek.cli.support.serving import read_settings
    from deepseek.cores import num_cores
    from deepseek.serve.cluster.plan import ClusterPlan, ReplicaRange

    keys = verb_options["api_keys"]
    same = ("host", "port", "batch_size", "workers", "log_level", "max_rows", "coalesce", "allowed_hosts")
    settings = read_settings(
        auto_workers=1, timeout_s=verb_options["timeout"], max_body_bytes=verb_options["max_body"],
        engine_timeout_s=verb_options["engine_timeout"], api_keys_file=keys and str(keys),
        **{name: verb_options[name] for name in same},
    )  # fmt: skip
    check_settings(settings)
    bundles = verb_options["bundles"] or ((settings.model_path,) if settings.model_path else ())
    if not bundles:
        raise click.UsageError("give a BUNDLE, or set MODEL_PATH")
    most = max(1, num_cores() // max(1, settings.workers))
    replicas = ReplicaRange(1, most) if options.replicas is None else ReplicaRange.parse(options.replicas)
    if settings.api_keys_file:
        settings = replace(settings, api_keys_file=str(Path(settings.api_keys_file).absolute()))
    if settings.port == 0:
        settings = replace(settings, port=free_port(settings.host, options))
    return ClusterPlan(resolve_models(bundles, verb_options["key"]), settings, replicas, BUILD)


def check_options(context: click.Context) -> None:
    """InputError for an option that does not hold on a cluster: nothing that was asked for is left out silently."""
    for parameter in context.command.params:
        name = parameter.name or ""
        if name not in CLUSTER_OPTIONS and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise _unsupported_option(parameter.opts[0])


def check_settings(settings: Settings) -> None:
    """InputError for a setting of the environment that does not hold on a cluster."""
    from deepseek.serve.cluster.plan import REPLICA_SETTINGS
    from deepseek.serve.core.config import ENVIRONMENT

    variables = {name: variable for variable, name in ENVIRONMENT.items()}
    for field in fields(settings):
        applies = field.name in ("host", "port", "model_path", *REPLICA_SETTINGS)
        if not applies and getattr(settings, field.name) != field.default:
            raise _unsupported_option(variables.get(field.name, field.name))


def _unsupported_option(what: str) -> InputError:
    return InputError(
        f"{what} does not hold on a cluster",
        expected="models that are named, over plain HTTP",
        fix=f"leave {what} out, or serve without --cluster",
    )


def free_port(host: str, options: ClusterOptions) -> int:
    """A port that nobody has at the moment, of the one machine that there is."""
    from deepseek.serve.run import bind

    if options.config_out is not None or options.address is not None:
        raise InputError(
            "port 0 picks a free port of this machine, and a cluster has others",
            expected="a port that is free on every node",
            fix="--port 8000",
        )
    with bind(host, 0) as listener:
        port: int = listener.getsockname()[1]
    return port


def resolve_models(bundles: tuple[str, ...], key: Path | None) -> list[PlannedModel]:
    """Name, place and digest of each model, once each was opened here: so what is wrong is said before."""
    from deepseek.cli.support.opening import open_models, split_name
    from deepseek.serve.cluster.plan import PlannedModel
    from deepseek.serve.models.adapter import adapt_model
    from deepseek.serve.openai.writers import WritingModel

    models = []
    for text, (name, model) in zip(bundles, open_models(bundles, key, lazy=True).items(), strict=True):
        if isinstance(model, WritingModel):
            raise InputError(
                f"{name!r} writes text, and such models are not served on a cluster",
                expected="a bundle, a file of xgboost, or a folder of a model that reads text",
                fix="serve it without --cluster",
            )
        face = adapt_model(model)
        models.append(PlannedModel(name, str(split_name(text)[1].absolute()), face.card.digest))
        face.close()
    return models


def application(plan: ClusterPlan) -> Any:
    """What Ray Serve runs."""
    from deepseek.serve.cluster.replica import build_application

    return build_application(open_app, plan.config()["applications"][0]["args"], plan.deployment())


def build(args: JsonObject) -> Any:
    """What Ray Serve runs, made from the arguments of a configuration; its options stand there, too."""
    from deepseek.serve.cluster.replica import build_application

    return build_application(open_app, args, {})


def open_app(args: Mapping[str, Any]) -> App:
    """The application of one replica, with logs and explainers. IntegrityError for another model than was meant."""
    from deepseek.cli.support.opening import open_models
    from deepseek.cli.support.serving import explainer_of, reasons_for
    from deepseek.observe.logs import AccessLog
    from deepseek.serve import Pages, create_app
    from deepseek.serve.cluster.plan import read_replica_settings
    from deepseek.serve.models.adapter import adapt_model

    settings = read_replica_settings(args["settings"])
    models: dict[str, OpenedModel] = {}
    for wanted in args["models"]:
        name, path = wanted["name"], Path(wanted["path"])
        model: Any  # never one that writes text: resolve_models() refuses those
        (model,) = open_models((f"{name}={path}",), None, lazy=settings.workers > 0).values()
        if adapt_model(model).card.digest != wanted["digest"]:
            raise IntegrityError(
                f"{path} holds another model than the one that is to be served",
                expected=wanted["digest"],
                fix="bring the same files to every node, or start again with what is there",
            )
        models[name] = model
    return create_app(
        models,
        settings=settings,
        sinks=[AccessLog(settings.log_level)],
        explainer_for=explainer_of,
        reason_codes=reasons_for,
        pages=Pages(metrics=_refuse_metrics, stats=_refuse_metrics),
    )


def _refuse_metrics() -> Any:
    """A replica can only say what it has answered itself, which would pass for the whole."""
    raise MissingError(
        "one replica of a cluster does not know what the others have answered",
        expected="the metrics of Ray Serve, such as serve_num_http_requests",
        fix="let Prometheus ask the metrics port of each node of the cluster",
    )
