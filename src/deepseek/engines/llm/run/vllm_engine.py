"""Decoders on a GPU, run by vLLM: continuous batching, paged keys and values, shared prefixes.

    engine = VllmEngine(folder)

Written by vLLM's documentation (LLMEngine of its version 1 engine, 0.11 and later) and never run: the machines on which
this project is tested have no GPU that vLLM supports. It is taken only where vllm is installed and torch finds a GPU.

Source: https://docs.vllm.ai/en/latest/api/vllm/v1/engine/llm_engine/, sampling_params and outputs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deepseek.engines.llm.model.folder import read_end_ids, read_json
from deepseek.engines.llm.model.options import EngineLimits
from deepseek.engines.llm.run.base import EngineInfo, FinishReason, Generation, GenerationEngine
from deepseek.extras import need

_FINISH_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length"}


class VllmEngine(GenerationEngine):
    """Runs a model by vLLM on one GPU. Answers are not restricted to JSON schemas: those are tried with OpenVINO's
    compiler only."""

    kind = "vllm"
    _engine: Any = None

    def __init__(self, folder: Path, limits: EngineLimits | None = None) -> None:
        limits = limits or EngineLimits()
        self._library, self._folder = need("vllm", extra="vllm"), folder
        self._outputs: dict[str, Any] = {}  # of the last step, by request
        self._dtype = "float32" if limits.exact else "bfloat16" if limits.bfloat16 else "auto"
        raw = read_json(folder / "config.json")
        self.limits = limits
        self._open()
        config = self._engine.model_config
        vocab_size = int(config.get_vocab_size())
        ends = read_end_ids(folder, raw, vocab_size)
        facts = EngineInfo(
            self.kind, vocab_size, int(config.max_model_len), ends, limits.arithmetic, str(folder), schemas=False
        )
        super().__init__(facts, limits)

    def _open(self) -> None:
        if self._engine is not None:
            return
        arguments = self._library.EngineArgs(
            model=str(self._folder), dtype=self._dtype, max_num_seqs=self.limits.max_running,
            enable_prefix_caching=True, trust_remote_code=False, disable_log_stats=True,
        )  # fmt: skip
        self._engine = self._library.LLMEngine.from_engine_args(arguments)

    def _start(self, generation: Generation) -> str:
        options, name = generation.options, str(id(generation))
        params = self._library.SamplingParams(
            max_tokens=generation.max_tokens, temperature=0.0 if options.greedy else options.temperature,
            top_p=max(options.top_p, 1e-6), top_k=options.top_k, seed=options.seed,
            frequency_penalty=options.frequency_penalty, presence_penalty=options.presence_penalty,
            logprobs=0 if options.logprobs else None, ignore_eos=options.ignore_end,
            stop_token_ids=[] if options.ignore_end else list(self.end_ids), detokenize=False,
            output_kind=need("vllm.sampling_params", extra="vllm").RequestOutputKind.DELTA,
        )  # fmt: skip
        self._engine.add_request(name, {"prompt_token_ids": list(generation.ids)}, params)
        return name

    def _step(self) -> None:
        self._outputs = {output.request_id: output.outputs[0] for output in self._engine.step()}

    def _read(self, generation: Generation) -> tuple[list[int], list[float], FinishReason | None]:
        output = self._outputs.pop(generation.handle, None)
        if output is None:
            return [], [], None
        tokens = list(output.token_ids)
        by_step = output.logprobs or []  # for each token: those of some tokens, the chosen one among them
        logprobs = [float(candidates[token].logprob) for token, candidates in zip(tokens, by_step, strict=False)]
        return tokens, logprobs, _FINISH_REASONS.get(output.finish_reason)

    def _stop(self, handle: str) -> None:
        self._engine.abort_request([handle])

    def _needs_step(self) -> bool:
        return bool(self._engine.has_unfinished_requests())

    def _release(self) -> None:
        self._engine = None
