"""vLLM's names, of models that write text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from prometheus_client.metrics_core import Metric

from deepseek.observe.compat.families import histogram_family, number_family
from deepseek.observe.metrics_histograms import HistogramBuckets

if TYPE_CHECKING:
    from deepseek.serve.openai.timing import CompletionTimes
    from deepseek.serve.status import GeneratorStatus

LATENCY_BOUNDS_S = (0.1, 0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 480.0)
FIRST_TOKEN_BOUNDS_S = (0.001, 0.005, 0.01, 0.02, 0.04, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0, 40.0, 160.0)
TOKEN_BOUNDS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0)
TOKEN_BOUNDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)
ENGINE = "0"
#: Reasons that are told from the start; "error" and "abort" are no success, but vLLM counts them here, too.
FINISHES = ("stop", "length", "abort", "error")
#: Name -> bounds.
HISTOGRAMS: Mapping[str, Sequence[float]] = {
    "vllm:e2e_request_latency_seconds": LATENCY_BOUNDS_S,
    "vllm:time_to_first_token_seconds": FIRST_TOKEN_BOUNDS_S,
    "vllm:inter_token_latency_seconds": TOKEN_BOUNDS_S,
    "vllm:request_queue_time_seconds": LATENCY_BOUNDS_S,
    "vllm:request_prefill_time_seconds": LATENCY_BOUNDS_S,
    "vllm:request_decode_time_seconds": LATENCY_BOUNDS_S,
    "vllm:request_prompt_tokens": TOKEN_BOUNDS,
    "vllm:request_generation_tokens": TOKEN_BOUNDS,
    "vllm:request_max_num_generation_tokens": TOKEN_BOUNDS,
}


class CompletionCounts:
    """The completions of one model."""

    def __init__(self) -> None:
        self.histograms = {name: HistogramBuckets(bounds) for name, bounds in HISTOGRAMS.items()}
        self.finishes = Counter(dict.fromkeys(FINISHES, 0))

    def add(self, completions: Sequence[CompletionTimes]) -> None:
        """Count the completions of one request."""
        observe = {name: buckets.observe for name, buckets in self.histograms.items()}
        for each in completions:
            self.finishes[each.finish] += 1
            observe["vllm:e2e_request_latency_seconds"](each.duration_s)
            observe["vllm:request_prompt_tokens"](each.prompt_tokens)
            observe["vllm:request_generation_tokens"](each.written_tokens)
            if each.first_token_s is not None:
                observe["vllm:time_to_first_token_seconds"](each.first_token_s)
                observe["vllm:request_queue_time_seconds"](each.queue_s)
                observe["vllm:request_prefill_time_seconds"](each.first_token_s - each.queue_s)
                observe["vllm:request_decode_time_seconds"](each.duration_s - each.first_token_s)
            self.histograms["vllm:inter_token_latency_seconds"].observe_all(
                [gap_s for gap_s, num_tokens in each.token_gaps for _ in range(num_tokens)]
            )
        if completions:
            observe["vllm:request_max_num_generation_tokens"](max(each.written_tokens for each in completions))


def completion_families(counts: Mapping[str, CompletionCounts]) -> Iterator[Metric]:
    """Of completions that have ended, by model."""
    for name in HISTOGRAMS:
        yield histogram_family(name, [((model, ENGINE), each.histograms[name]) for model, each in counts.items()])
    older = "vllm:time_per_output_token_seconds"
    gaps = [((model, ENGINE), each.histograms["vllm:inter_token_latency_seconds"]) for model, each in counts.items()]
    yield histogram_family(older, gaps)
    yield number_family(
        "vllm:request_success_total",
        [
            ((model, ENGINE, reason), number)
            for model, each in counts.items()
            for reason, number in each.finishes.items()
        ],
    )


def generator_families(generators: Sequence[GeneratorStatus]) -> Iterator[Metric]:
    """Of what is being written now, and tokens so far."""
    rows = [((each.name, ENGINE), each) for each in generators]
    yield number_family("vllm:prompt_tokens_total", [(labels, each.prompt_tokens) for labels, each in rows])
    yield number_family("vllm:generation_tokens_total", [(labels, each.written_tokens) for labels, each in rows])
    running = [(labels, min(each.num_generating, each.max_running)) for labels, each in rows]
    yield number_family("vllm:num_requests_running", running)
    waiting = [(labels, max(0, each.num_generating - each.max_running)) for labels, each in rows]
    yield number_family("vllm:num_requests_waiting", waiting)
