"""What the verbs that serve share: settings from options and environment, explainers, reason codes in words."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepseek.automl.label.collect.sink import UnsureSink
    from deepseek.contracts import AnsweredRows, Attribution, Event, Record, RowSink
    from deepseek.engines import MultimodalRuntime, Runtime
    from deepseek.observe.audit import AuditLog
    from deepseek.observe.logs import AccessLog
    from deepseek.observe.predictions.log import PredictionLog
    from deepseek.observe.traces.sink import TraceSink
    from deepseek.serve import Settings
    from deepseek.serve.models.text import TextAdapter
    from deepseek.serve.scoring.reasons import AlertReasons
    from deepseek.serve.scoring.scorer import EventScorer


def read_settings(**options: Any) -> Settings:
    """Settings from the environment and the options of the verb, by the fields of Settings. Says what the server lacks
    before any work."""
    from deepseek.extras import need

    for module in ("httptools", "orjson", "prometheus_client"):
        need(module, extra="serve")
    from deepseek.serve import Settings

    settings = Settings.read(os.environ, **options)
    if settings.prediction_log:
        from deepseek.observe.predictions.config import PredictionLogConfig

        need("pyarrow", extra="tabular")
        PredictionLogConfig.parse(settings.prediction_log)
    if settings.unsure_to:
        from deepseek.automl.label.collect.config import CollectConfig

        CollectConfig.parse(settings.unsure_to)
    if settings.metrics_compat:
        from deepseek.observe.compat.names import read_projects

        read_projects(settings.metrics_compat)
    if settings.otlp:
        from deepseek.observe.traces.config import OtlpConfig

        OtlpConfig.parse(settings.otlp)
        need("opentelemetry.exporter.otlp.proto.http.trace_exporter", extra="otlp")
    if settings.api_keys_file:
        from deepseek.serve.core.keys import ApiKeys

        ApiKeys.read(settings.api_keys_file)
    if settings.tls_cert and settings.tls_key:
        from deepseek.serve.core.tls import TlsCertificate

        TlsCertificate.read(settings.tls_cert, settings.tls_key)
    return settings


@dataclass(frozen=True, slots=True)
class ServerLogs:
    """The logs of a server, in the order in which they are closed: the access log last, which hears of the others."""

    access: AccessLog
    audit: AuditLog | None = None
    predictions: PredictionLog | None = None
    traces: TraceSink | None = None
    unsure: UnsureSink | None = None

    @property
    def sinks(self) -> list[AccessLog | AuditLog | TraceSink]:
        return [log for log in (self.audit, self.traces, self.access) if log is not None]

    @property
    def all(self) -> list[AccessLog | AuditLog | PredictionLog | TraceSink | UnsureSink]:
        return [*self._row_sinks, *self.sinks]

    @property
    def row_sink(self) -> RowSink | None:
        """What gets the rows of each request."""
        sinks = self._row_sinks
        return sinks[0] if len(sinks) == 1 else RowSinks(tuple(sinks)) if sinks else None

    @property
    def _row_sinks(self) -> list[PredictionLog | UnsureSink]:
        return [log for log in (self.predictions, self.unsure) if log is not None]


@dataclass(frozen=True, slots=True)
class RowSinks:
    """Several sinks of rows as one."""

    sinks: tuple[RowSink, ...]

    def emit_rows(self, event: Event, rows: AnsweredRows | None) -> None:
        for sink in self.sinks:
            sink.emit_rows(event, rows)


def open_logs(settings: Settings, audit_log: Path | None, models: Mapping[str, object]) -> ServerLogs:
    """Open the logs that the settings and the option ask for. InputError for one that cannot be written."""
    from deepseek.observe.audit import AuditLog
    from deepseek.observe.logs import AccessLog

    access = AccessLog(settings.log_level)
    audit = None if audit_log is None else AuditLog(audit_log, tell=access.emit)
    traces, unsure = open_traces(settings, access), open_unsure(settings, models, access)
    if not settings.prediction_log:
        return ServerLogs(access, audit, None, traces, unsure)
    from deepseek.observe.predictions.config import PredictionLogConfig
    from deepseek.observe.predictions.log import PredictionLog

    config = PredictionLogConfig.parse(settings.prediction_log)
    return ServerLogs(access, audit, PredictionLog(config, tell=access.emit), traces, unsure)


def open_unsure(settings: Settings, models: Mapping[str, object], access: AccessLog) -> UnsureSink | None:
    """What sends rows to a project of labels; None, and nothing of it imported, unless the settings ask for it."""
    if not settings.unsure_to:
        return None
    from deepseek.automl.label.collect.config import CollectConfig
    from deepseek.automl.label.collect.sink import UnsureSink

    bundles = {name: getattr(model, "bundle", None) for name, model in models.items()}
    manifests = {name: bundle.manifest for name, bundle in bundles.items() if bundle is not None}
    return UnsureSink(CollectConfig.parse(settings.unsure_to), manifests, tell=access.emit)


def open_traces(settings: Settings, access: AccessLog) -> TraceSink | None:
    """What sends traces; None, and nothing of it imported, unless the settings ask for it."""
    if not settings.otlp:
        return None
    from deepseek.observe.traces.config import OtlpConfig
    from deepseek.observe.traces.sink import TraceSink

    return TraceSink(OtlpConfig.parse(settings.otlp), tell=access.emit)


def explainer_of(runtime: Runtime | MultimodalRuntime | TextAdapter) -> Any:
    """The explainer of a runtime, made when it is first asked."""
    from deepseek.engines import Runtime
    from deepseek.explain import explainer_for
    from deepseek.serve.models.text import TextAdapter

    if isinstance(runtime, TextAdapter):
        from deepseek.explain.media.texts import TextExplainer
        from deepseek.explain.shapley.partition import SERVING_BUDGET

        return TextExplainer(runtime.model, runtime.run, SERVING_BUDGET)
    if not isinstance(runtime, Runtime):
        from deepseek.explain.media.modalities import ModalityExplainer
        from deepseek.explain.media.request_rows import PartsExplainer

        return PartsExplainer(ModalityExplainer(runtime))

    # The score of the engine that serves: then the residual covers the difference between engines too.
    return explainer_for(runtime.model, runtime.preprocessor.owners(), score=runtime.score)


def reasons_for(attribution: Attribution, record: Record, num_reasons: int, *, row: int, outcome: str) -> list[str]:
    """Reason codes; the room that writes them is imported when they are first asked for."""
    from deepseek.explain.tabular.reasons import reason_codes

    return reason_codes(attribution, record, num_reasons, row=row, outcome=outcome)


def alert_reasons(scorer: EventScorer) -> AlertReasons:
    """What explains the alerts of a scorer, warmed up."""
    from deepseek.explain import explainer_for
    from deepseek.serve.scoring.reasons import AlertReasons

    runtime = scorer.runtime
    explainer = explainer_for(runtime.model, runtime.preprocessor.owners(), score=scorer.run_model, compiled=True)
    reasons = AlertReasons(scorer, explainer, reasons_for)
    reasons.warm_up()
    return reasons
