"""Decoders that are not converted here, run by transformers on torch: the same requests, slower.

    engine = TorchEngine(folder)
    engine.submit(ids, options, on_piece)

Batches are static: what waits is begun together, as much of it as the keys and values have room for, and what comes
later waits until that batch is done. Prompts are padded on the left; a model that takes no position ids gets only
prompts of one length at a time. No answer is restricted to a JSON schema. Code in the folder is never run.
"""

from __future__ import annotations

import inspect
import math
import secrets
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from deepseek.engines.llm.model.folder import read_end_ids, read_json
from deepseek.engines.llm.model.options import EngineLimits, GenerationOptions
from deepseek.engines.llm.run.base import EngineInfo, FinishReason, Generation, GenerationEngine
from deepseek.errors import InputError
from deepseek.extras import need

EXTRA = "llm-torch"
POSITION_KEYS = ("max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length", "seq_length")
DEFAULT_POSITIONS = 2048  # of a model that can read any length, or does not say
_MODEL_ERRORS = (OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError, ImportError)


@dataclass(eq=False, slots=True)
class GenerationRow:
    """One answer in a batch, or waiting for one."""

    generation: Generation
    random: Any  # torch.Generator
    new: list[int] = field(default_factory=list)  # tokens that _read() has not returned yet
    logprobs: list[float] = field(default_factory=list)
    counts: Counter[int] = field(default_factory=Counter)  # of the tokens written
    last: int = 0  # token that was chosen
    finish: FinishReason | None = None
    stopped: bool = False

    @property
    def live(self) -> bool:
        return self.finish is None and not self.stopped

    @property
    def num_prompt(self) -> int:
        """Tokens of the prompt."""
        return len(self.generation.ids)

    @property
    def size(self) -> int:
        """Tokens of the prompt and the longest answer."""
        return self.num_prompt + self.generation.max_tokens


@dataclass(slots=True)
class GenerationBatch:
    """Rows that are generated together. B rows, S tokens so far."""

    rows: list[GenerationRow]
    inputs: Any  # (B, S) at first, then (B, 1): what is read next
    mask: Any  # (B, S), 0 for padding
    cache: Any = None


class TorchEngine(GenerationEngine):
    """Any causal language model that transformers knows by itself and whose tokenizer is BPE."""

    kind = "transformers"

    def __init__(self, folder: Path, limits: EngineLimits | None = None) -> None:
        limits = limits or EngineLimits()
        self._torch, self._library = need("torch", extra=EXTRA), need("transformers", extra=EXTRA)
        self._torch.set_num_threads(limits.num_threads)
        self._library.utils.logging.disable_progress_bar()  # a server's lines on stderr are JSON
        self._library.utils.logging.set_verbosity_error()
        strict = need("huggingface_hub.errors", extra=EXTRA).StrictDataclassError  # a configuration of wrong types
        self._raised = (*_MODEL_ERRORS, strict, SafetensorError)
        self._folder = folder
        self._bfloat16 = limits.bfloat16
        self._rows: deque[GenerationRow] = deque()
        self._batch: GenerationBatch | None = None
        self._model: Any = None
        raw = read_json(folder / "config.json")
        try:
            text = self._library.AutoConfig.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            ).get_text_config()
            self._token_bytes = _cache_bytes_per_token(text, 2 if limits.bfloat16 else 4)
            sizes = (getattr(text, name, None) for name in POSITION_KEYS)
            positions = next((size for size in sizes if type(size) is int), None)
            self._vocab_size = int(text.vocab_size)
        except self._raised as error:
            raise _cannot_run_error(folder, error) from None
        room = max(limits.cache_bytes // self._token_bytes, 2)
        facts = EngineInfo(
            self.kind, self._vocab_size, min(positions or DEFAULT_POSITIONS, room),
            read_end_ids(folder, raw, self._vocab_size),
            "bfloat16" if limits.bfloat16 else "float32", str(folder), schemas=False,
        )  # fmt: skip
        super().__init__(facts, limits)

    def _open(self) -> None:
        dtype = self._torch.bfloat16 if self._bfloat16 else self._torch.float32
        try:
            self._model = self._library.AutoModelForCausalLM.from_pretrained(
                self._folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=dtype
            ).eval()
        except self._raised as error:
            raise _cannot_run_error(self._folder, error) from None
        parameters = inspect.signature(self._model.forward).parameters
        self._cache_name = next((name for name in ("cache", "past_key_values") if name in parameters), "")
        if not self._cache_name or "attention_mask" not in parameters:
            raise _cannot_run_error(self._folder, f"{type(self._model).__name__} keeps nothing of what it has read")
        self._takes_positions = "position_ids" in parameters
        self._last_logits_only = {"logits_to_keep": 1} if "logits_to_keep" in parameters else {}

    def _start(self, generation: Generation) -> GenerationRow:
        random = self._torch.Generator()
        seed = generation.options.seed
        random.manual_seed((secrets.randbits(63) if seed is None else seed) % (1 << 63))
        row = GenerationRow(generation, random)
        self._rows.append(row)
        return row

    def _step(self) -> None:
        batch = self._batch = self._batch or self._gather()
        if batch is None:
            return
        try:
            with self._torch.inference_mode():
                for row, scores in zip(batch.rows, self._forward(batch), strict=True):
                    if row.live:
                        self._add_token(row, scores)
        except _MODEL_ERRORS as error:  # a model's own code raises what it likes
            raise RuntimeError(str(error)) from error
        if any(row.live for row in batch.rows):
            last = [[row.last] for row in batch.rows]
            batch.inputs = self._torch.tensor(last)  # (B, 1)
            batch.mask = self._torch.cat([batch.mask, batch.mask.new_ones(len(last), 1)], 1)
        else:
            self._batch = None

    def _gather(self) -> GenerationBatch | None:
        """The next batch: the row that waits longest, and those behind it that there is room for."""
        chosen: list[GenerationRow] = []
        rest: deque[GenerationRow] = deque()
        longest = 0
        for row in self._rows:
            size = max(longest, row.size)
            fits = size * (len(chosen) + 1) * self._token_bytes <= self.limits.cache_bytes
            if not chosen or (fits and (self._takes_positions or row.num_prompt == chosen[0].num_prompt)):
                chosen.append(row)
                longest = size
            else:
                rest.append(row)
        self._rows = rest
        if not chosen:
            return None
        width = max(row.num_prompt for row in chosen)
        padding = [width - row.num_prompt for row in chosen]
        ids = [[0] * empty + list(row.generation.ids) for row, empty in zip(chosen, padding, strict=True)]
        mask = [[0] * empty + [1] * (width - empty) for empty in padding]
        return GenerationBatch(chosen, self._torch.tensor(ids), self._torch.tensor(mask))

    def _forward(self, batch: GenerationBatch) -> Any:
        """Logits of the next token of each row, (B, V) in float32."""
        options = {self._cache_name: batch.cache} | self._last_logits_only
        if self._takes_positions:  # else nothing is padded, and a mask of ones is best left out: some layers misread it
            options["attention_mask"] = batch.mask
            positions = (batch.mask.cumsum(1) - 1).clamp(min=0)  # (B, S)
            options["position_ids"] = positions[:, -batch.inputs.shape[1] :]
        output = self._model(input_ids=batch.inputs, use_cache=True, **options)
        batch.cache = getattr(output, self._cache_name)
        return output.logits[:, -1, : self._vocab_size].float()

    def _add_token(self, row: GenerationRow, scores: Any) -> None:
        """Choose one row's next token by its scores (V,). RuntimeError where they are not finite: a token with NaN
        would count as the likeliest, and the text would look like an answer."""
        if not self._torch.isfinite(scores.max()):  # NaN where any is
            raise RuntimeError("the model gives NaN or infinite scores for the next token")
        options = row.generation.options
        if row.counts and (options.frequency_penalty or options.presence_penalty):
            tokens = self._torch.tensor(list(row.counts))
            counts = self._torch.tensor(list(row.counts.values()), dtype=scores.dtype)
            scores[tokens] -= options.frequency_penalty * counts + options.presence_penalty
        token = self._choose(scores, options, row.random)
        row.last = token
        row.new.append(token)
        row.counts[token] += 1
        if options.logprobs:
            row.logprobs.append(float(self._torch.log_softmax(scores, 0)[token]))
        if token in self.end_ids and not options.ignore_end:
            row.finish = "stop"
        elif row.counts.total() >= row.generation.max_tokens:
            row.finish = "length"

    def _choose(self, scores: Any, options: GenerationOptions, random: Any) -> int:
        if options.greedy:
            return int(scores.argmax())
        ordered, order = (scores / options.temperature).sort(descending=True)
        probabilities = ordered.softmax(0)
        if options.top_k:
            probabilities[options.top_k :] = 0
        if options.top_p < 1:
            before = probabilities.cumsum(0) - probabilities  # the most likely token has nothing before it and stays
            probabilities[before > options.top_p * probabilities.sum()] = 0
        return int(order[self._torch.multinomial(probabilities, 1, generator=random)])

    def _read(self, generation: Generation) -> tuple[list[int], list[float], FinishReason | None]:
        row: GenerationRow = generation.handle
        tokens, row.new, logprobs, row.logprobs = row.new, [], row.logprobs, []
        return tokens, logprobs, row.finish

    def _stop(self, handle: GenerationRow) -> None:
        handle.stopped = True
        if handle in self._rows:
            self._rows.remove(handle)

    def _release(self) -> None:
        self._model = self._batch = None
        self._rows.clear()


def _cache_bytes_per_token(config: Any, bytes_per_value: int) -> int:
    """The bytes of keys and values of one token, by the heads of a configuration, or by its whole width where it names
    no heads."""
    width, layers = int(config.hidden_size), int(config.num_hidden_layers)
    heads = getattr(config, "num_attention_heads", None) or 1
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    head_size = getattr(config, "head_dim", None) or math.ceil(width / heads)
    return 2 * layers * int(kv_heads) * int(head_size) * bytes_per_value


def _cannot_run_error(folder: Path, error: object) -> InputError:
    reason = str(error).strip().splitlines()
    return InputError(
        f"transformers cannot run {folder.name}: {(reason or ['no reason was given'])[0][:300]}",
        expected="a causal language model that transformers knows without code of its own, as safetensors",
        fix="save the model again with save_pretrained(), or serve another one",
    )
