"""The table of foreign names: what each is made of here, and which ones have no answer here.

Sources: vLLM, examples/observability and docs/design/metrics; Triton, docs/user_guide/metrics; KServe,
python/kserve/README.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from deepseek.errors import InputError
from deepseek.plugins import did_you_mean

Project = Literal["vllm", "triton", "kserve"]
PROJECTS: tuple[Project, ...] = get_args(Project)
#: Triton's counters have no _total, which OpenMetrics wants: they are told as of unknown kind, which rate() takes, too.
ForeignKind = Literal["counter", "gauge", "histogram", "unknown"]
VLLM_LABELS, TRITON_LABELS = ("model_name", "engine"), ("model", "version")


@dataclass(frozen=True, slots=True)
class ForeignName:
    """One metric under another project's name."""

    project: Project
    name: str
    kind: ForeignKind
    labels: tuple[str, ...]
    source: str  # what it is here
    is_merged_by_max: bool = False  # over front ends; else added up

    @property
    def family(self) -> str:
        """As the client library wants it."""
        return self.name.removesuffix("_total") if self.kind == "counter" else self.name


def _vllm(name: str, kind: ForeignKind, source: str, *labels: str) -> ForeignName:
    return ForeignName("vllm", f"vllm:{name}", kind, (*VLLM_LABELS, *labels), source)


def _triton(name: str, kind: ForeignKind, source: str, *labels: str) -> ForeignName:
    return ForeignName("triton", f"nv_{name}", kind, (*TRITON_LABELS, *labels), source)


def _machine(name: str, source: str, *labels: str) -> ForeignName:
    return ForeignName("triton", f"nv_{name}", "gauge", labels, source, is_merged_by_max=True)


FOREIGN_NAMES: tuple[ForeignName, ...] = (
    _vllm("e2e_request_latency_seconds", "histogram", "a completion, from its submission to its last piece"),
    _vllm("time_to_first_token_seconds", "histogram", "a completion, from its submission to its first token"),
    _vllm("inter_token_latency_seconds", "histogram", "between two tokens of a completion"),
    _vllm("time_per_output_token_seconds", "histogram", "the same, under its older name"),
    _vllm("request_queue_time_seconds", "histogram", "a completion, from its submission to its turn"),
    _vllm("request_prefill_time_seconds", "histogram", "a completion, from its turn to its first token"),
    _vllm("request_decode_time_seconds", "histogram", "a completion, from its first to its last token"),
    _vllm("request_prompt_tokens", "histogram", "tokens of a prompt"),
    _vllm("request_generation_tokens", "histogram", "tokens of a completion"),
    _vllm("request_max_num_generation_tokens", "histogram", "tokens of the longest completion of a request"),
    _vllm("prompt_tokens_total", "counter", "deepseek_generation_tokens_total, kind prompt"),
    _vllm("generation_tokens_total", "counter", "deepseek_generation_tokens_total, kind written"),
    _vllm("request_success_total", "counter", "completions that ended by themselves", "finished_reason"),
    _vllm("num_requests_running", "gauge", "completions that are written"),
    _vllm("num_requests_waiting", "gauge", "completions that wait for their turn"),
    _triton("inference_request_success", "unknown", "predictions that were answered"),
    _triton("inference_request_failure", "unknown", "requests answered with anything else", "reason"),
    _triton("inference_count", "unknown", "deepseek_rows_total"),
    _triton("inference_exec_count", "unknown", "deepseek_batch_rows, how many"),
    _triton("inference_request_duration_us", "unknown", "deepseek_predict_duration_seconds, together"),
    _triton("inference_queue_duration_us", "unknown", "deepseek_queue_duration_seconds, together"),
    _triton("inference_compute_input_duration_us", "unknown", "stages decode and prepare, together"),
    _triton("inference_compute_infer_duration_us", "unknown", "stage compute, together"),
    _triton("inference_compute_output_duration_us", "unknown", "stage encode, together"),
    _triton("inference_first_response_histogram_ms", "histogram", "deepseek_predict_duration_seconds"),
    _machine("cpu_utilization", "share of the machine's processors since the last scrape"),
    _machine("cpu_memory_total_bytes", "deepseek_memory_limit_bytes"),
    _machine("cpu_memory_used_bytes", "deepseek_memory_bytes"),
    _machine("gpu_utilization", "deepseek_gpu_utilization_ratio", "gpu_uuid"),
    _machine("gpu_memory_total_bytes", "deepseek_gpu_memory_size_bytes", "gpu_uuid"),
    _machine("gpu_memory_used_bytes", "deepseek_gpu_memory_used_bytes", "gpu_uuid"),
    *(
        ForeignName("kserve", f"request_{step}_seconds", "histogram", ("model_name",), source)
        for step, source in (
            ("preprocess", "stages decode and prepare of a request"),
            ("predict", "stages wait and compute of a request"),
            ("postprocess", "stage encode of a request"),
            ("explain", "deepseek_explain_duration_seconds"),
        )
    ),
)
#: Names that those dashboards ask for and that have no answer here, and why: their panels stay empty.
WITHOUT_ANSWER: dict[str, str] = {
    "vllm:kv_cache_usage_perc": "the engines here do not tell how full their cache is",
    "vllm:prefix_cache_hits_total": "the engines here do not tell of prefixes",
    "vllm:prefix_cache_queries_total": "the same",
    "nv_inference_pending_request_count": "rows wait here, not requests: deepseek_queue_rows",
    "nv_gpu_power_usage": "not read from NVML",
}
#: Families of which the largest of several front ends counts.
FOREIGN_MERGED_BY_MAX = frozenset(each.family for each in FOREIGN_NAMES if each.is_merged_by_max)
_BY_NAME = {each.name: each for each in FOREIGN_NAMES}


def find_foreign_name(name: str) -> ForeignName:
    """The entry of this name. KeyError for any other."""
    return _BY_NAME[name]


def read_projects(text: str) -> tuple[Project, ...]:
    """The projects of --metrics-compat, in the order of PROJECTS. InputError for a name that is none.

    >>> read_projects("kserve, vllm")
    ('vllm', 'kserve')
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    _check_projects(names)
    return tuple(project for project in PROJECTS if project in names)


def _check_projects(names: Sequence[str]) -> None:
    unknown = next((name for name in names if name not in PROJECTS), None)
    if unknown is not None or not names:
        raise InputError(
            "--metrics-compat names no project" if unknown is None
            else f"--metrics-compat names {unknown[:40]!r}.{did_you_mean(unknown, PROJECTS)}",
            expected=f"{', '.join(PROJECTS)}, with commas between them", fix="for example --metrics-compat vllm,triton",
        )  # fmt: skip
