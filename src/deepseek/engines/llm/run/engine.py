"""Many answers generated at a time: OpenVINO GenAI with continuous batching, paged keys and values, shared prefixes.

    engine = LlmEngine(folder)                                 # a folder that convert() made
    generation = engine.submit(engine.words.encode("To be", max_tokens=engine.max_tokens), options, on_piece)
    engine.close()

When keys and values have no room left, the library drops those of the youngest answer and reads its text again later.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.engines.llm.model.chat import GenaiTemplate
from deepseek.engines.llm.model.convert import Precision, convert_cached, read_precision
from deepseek.engines.llm.model.folder import DecoderConfig, ModelFolder
from deepseek.engines.llm.model.graph import cache_bytes
from deepseek.engines.llm.model.options import EngineLimits
from deepseek.engines.llm.model.plugin import plugin_properties
from deepseek.engines.llm.model.schemas import SchemaCompiler, schema_text
from deepseek.engines.llm.run.base import EngineInfo, FinishReason, Generation, GenerationEngine
from deepseek.engines.openvino import keep_signal_stack
from deepseek.extras import need

MIN_TOP_P = 1e-6  # below it float32 may hold nought, which the library refuses; the most likely token alone anyway
BLOCK_TOKENS = 32  # of a block of the CPU plugin's paged attention


def num_blocks(config: DecoderConfig, limits: EngineLimits) -> int:
    """How many blocks of BLOCK_TOKENS tokens the cache has room for."""
    return max(limits.cache_bytes // cache_bytes(config, BLOCK_TOKENS, 4 if limits.exact else 2), 2)


def max_total_tokens(config: DecoderConfig, limits: EngineLimits) -> int:
    """Tokens of the longest prompt and its answer together: by the model's positions, and by the cache's room."""
    return min(config.max_positions, num_blocks(config, limits) * BLOCK_TOKENS)


class LlmEngine(GenerationEngine):
    """An engine that takes new requests between any two steps.

    GenAI keeps Python's lock during a step, so other threads of the process stand still for that long (a decode step
    of GPT-2 17 ms, a prompt of 256 tokens .2 s): beside an HTTP front end take process.LlmProcess.
    """

    kind = "openvino-genai"

    def __init__(self, folder: Path, limits: EngineLimits | None = None) -> None:
        limits = limits or EngineLimits()
        source = ModelFolder.read(folder, with_weights=False)
        self.config = source.config
        self.precision = read_precision(folder)
        self._folder = folder
        self._genai = need("openvino_genai", extra="llm")
        self._tensor = need("openvino", extra="llm").Tensor
        self._template = GenaiTemplate(folder)
        self._schema_compiler: SchemaCompiler | None = None
        self._pipeline: Any = None
        facts = EngineInfo(
            self.kind, source.config.vocab_size, max_total_tokens(source.config, limits), source.end_ids,
            "int8" if self.precision == "int8" else limits.arithmetic, str(folder),
        )  # fmt: skip
        super().__init__(facts, limits)

    @classmethod
    def open(
        cls, folder: Path, cache: Path, *, precision: Precision = "fp32", limits: EngineLimits | None = None
    ) -> LlmEngine:
        """An engine for a Hugging Face folder, converted into `cache` when that was not done before."""
        return cls(convert_cached(folder, cache, precision=precision), limits)

    def chat(self, messages: Sequence[Mapping[str, object]]) -> list[int]:
        """The prompt of a chat: messages {"role", "content"} by the model's own template, with room for an answer."""
        text = self._template.render(messages)
        return self.words.encode(text, max_tokens=self.max_tokens - 1, special=False)

    def schema(self, schema: Mapping[str, object]) -> str:
        """A schema that answers can be restricted to, as text. Compiled in this process, and so only for schemas of
        one's own: LlmProcess has a sandbox for those of others."""
        self._schema_compiler = self._schema_compiler or SchemaCompiler(self._folder)
        return self._schema_compiler.compile(schema_text(schema))

    def _open(self) -> None:
        scheduler = self._genai.SchedulerConfig()
        scheduler.num_kv_blocks = num_blocks(self.config, self.limits)
        scheduler.max_num_seqs = self.limits.max_running
        scheduler.max_num_batched_tokens = self.limits.max_batch_tokens
        scheduler.dynamic_split_fuse = True
        scheduler.enable_prefix_caching = True
        properties = plugin_properties(self.config, self.precision, self.limits)
        with keep_signal_stack():
            self._pipeline = self._genai.ContinuousBatchingPipeline(
                str(self._folder), self._template.tokenizer, scheduler, "CPU", **properties
            )

    def _start(self, generation: Generation) -> Any:
        prompt = self._tensor(np.array([generation.ids], np.int64))
        return self._pipeline.add_request(id(generation), prompt, self._generation_config(generation))

    def _step(self) -> None:
        self._pipeline.step()

    def _read(self, generation: Generation) -> tuple[list[int], list[float], FinishReason | None]:
        tokens: list[int] = []
        logprobs: list[float] = []
        finish: FinishReason | None = None
        while generation.handle.can_read():
            for output in generation.handle.read().values():
                tokens += output.generated_ids
                logprobs += output.generated_log_probs
                finish = _FINISH_REASONS.get(output.finish_reason.name, finish)
        if finish is None and not tokens and generation.handle.get_status().name == "IGNORED":
            finish = "length"  # no room in the cache, even alone
        return tokens, logprobs, finish

    def _stop(self, handle: Any) -> None:
        handle.stop()  # nothing to stop when the library has finished it

    def _needs_step(self) -> bool:
        return bool(self._pipeline.has_non_finished_requests())

    def _release(self) -> None:
        self._pipeline = None

    def _generation_config(self, generation: Generation) -> Any:
        options = generation.options
        config = self._genai.GenerationConfig()
        config.max_new_tokens = generation.max_tokens
        config.do_sample = not options.greedy
        if not options.greedy:
            config.temperature = options.temperature
            config.top_p = max(options.top_p, MIN_TOP_P)
            config.top_k = min(options.top_k or self.config.vocab_size, self.config.vocab_size)
            config.rng_seed = (secrets.randbits(32) if options.seed is None else options.seed) % (1 << 32)
        config.frequency_penalty = options.frequency_penalty
        config.presence_penalty = options.presence_penalty
        config.logprobs = int(options.logprobs)
        config.ignore_eos = options.ignore_end or not self.end_ids
        if not config.ignore_eos:
            config.stop_token_ids = set(self.end_ids)
            config.set_eos_token_id(self.end_ids[0])
        if options.json_schema is not None:
            config.structured_output_config = self._genai.StructuredOutputConfig(json_schema=options.json_schema)
        return config


_FINISH_REASONS: dict[str, FinishReason] = {"STOP": "stop", "LENGTH": "length"}
