"""What the verbs that serve share: settings from options and environment, explainers, reason codes in words."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepseek.contracts import Attribution, Record
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

    @property
    def sinks(self) -> list[AccessLog | AuditLog | TraceSink]:
        return [log for log in (self.audit, self.traces, self.access) if log is not None]

    @property
    def all(self) -> list[AccessLog | AuditLog | PredictionLog | TraceSink]:
        return [*([] if self.predictions is None else [self.predictions]), *self.sinks]


def open_logs(settings: Settings, audit_log: Path | None) -> ServerLogs:
    """Open the logs that the settings and the option ask for. InputError for one that cannot be written."""
    from deepseek.observe.audit import AuditLog
    from deepseek.observe.logs import AccessLog

    access = AccessLog(settings.log_level)
    audit = None if audit_log is None else AuditLog(audit_log, tell=access.emit)
    traces = open_traces(settings, access)
    if not settings.prediction_log:
        return ServerLogs(access, audit, None, traces)
    from deepseek.observe.predictions.config import PredictionLogConfig
    from deepseek.observe.predictions.log import PredictionLog

    config = PredictionLogConfig.parse(settings.prediction_log)
    return ServerLogs(access, audit, PredictionLog(config, tell=access.emit), traces)


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
