"""What a cost model must know of a decoder: parameters, key/value cache and work per token. Read from config.json.

    shape = read_shape("100b")                     # a built-in name
    shape = read_shape("models/Llama-3.1-70B")     # a Hugging Face folder, or its config.json

Grouped-query attention (arXiv 2305.13245), latent attention (2405.04434) and mixtures of experts (2401.04088) are
counted as what they hold and read. Nothing is imported and no weight is opened.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepseek.contracts import JsonObject
from deepseek.errors import InputError, MalformedError, MissingError
from deepseek.plugins import did_you_mean

MAX_CONFIG_BYTES = 1 << 20
MAX_COUNT = 1 << 40
#: Decoders whose MLP has two matrices; all others gate theirs and have three (arXiv 2002.05202).
UNGATED_MLP_FAMILIES = frozenset({
    "gpt2", "gptj", "gpt_neo", "gpt_neox", "gpt_bigcode", "codegen", "opt", "bloom", "falcon", "mpt", "phi",
    "starcoder2", "nemotron", "persimmon", "biogpt", "xglm",
})  # fmt: skip
#: Learned positions are parameters; rotary ones and ALiBi are not.
LEARNED_POSITION_FAMILIES = frozenset({"gpt2", "gpt_bigcode", "opt", "gpt_neo", "biogpt"})
#: Families whose configuration speaks of no generated token.
ENCODER_FAMILIES = frozenset({
    "bert", "roberta", "distilbert", "albert", "electra", "deberta", "deberta-v2", "mpnet", "xlm-roberta", "vit",
    "clip",
})  # fmt: skip


@dataclass(frozen=True)
class DecoderShape:
    """A decoder. Counts of parameters are those of matrices: norms and biases are below one part in a thousand."""

    name: str
    num_layers: int
    hidden_size: int
    num_heads: int
    vocab_size: int
    attention_parameters: int  # of one layer
    mlp_parameters: int  # of one layer without experts, or what all tokens share of one with experts
    expert_parameters: int  # of one expert; 0 without experts
    num_experts: int  # of one layer; 0 without experts
    experts_per_token: int
    num_dense_layers: int  # layers without experts
    dense_mlp_parameters: int  # of each of these
    kv_values: int  # keys and values that a token leaves in one layer
    num_kv_heads: int  # so many devices can share the cache out; more hold copies
    score_flops: int  # of one query and one key in one layer, all heads
    mlp_width: int  # values between the matrices of the MLP, for one token
    num_mlp_matrices: int
    is_tied: bool  # the head is the embedding
    num_positions: int  # learned ones
    max_context: int  # 0: not stated

    @property
    def embedding_parameters(self) -> int:
        return (self.vocab_size + self.num_positions) * self.hidden_size

    @property
    def head_parameters(self) -> int:
        return self.vocab_size * self.hidden_size

    @property
    def layer_parameters(self) -> int:
        """Parameters of all layers."""
        return self._with_experts(self.num_experts)

    @property
    def active_layer_parameters(self) -> int:
        """Parameters of all layers that one token is multiplied with."""
        return self.touched_parameters(1)

    @property
    def num_parameters(self) -> int:
        return self.layer_parameters + self.embedding_parameters + (0 if self.is_tied else self.head_parameters)

    def touched_parameters(self, num_tokens: int) -> int:
        """Of all layers, those that a step of `num_tokens` tokens reads, when experts are chosen evenly: an expert is
        left alone by all of them with a probability of (1 - k/E)^tokens.

        >>> read_shape("mixtral-8x7b").touched_parameters(1) / 1e9, read_shape("mixtral-8x7b").layer_parameters / 1e9
        (12.616466432, 46.439333888)
        """
        if not self.num_experts:
            return self.layer_parameters
        left_alone = (1 - self.experts_per_token / self.num_experts) ** num_tokens
        return self._with_experts(self.num_experts * (1 - left_alone))

    def _with_experts(self, num_experts: float) -> int:
        """Parameters of all layers, with `num_experts` experts in each layer that has some."""
        sparse = self.num_layers - self.num_dense_layers
        sparse_layer = self.mlp_parameters + round(num_experts * self.expert_parameters)
        dense = self.num_dense_layers * self.dense_mlp_parameters
        return self.num_layers * self.attention_parameters + sparse * sparse_layer + dense


def read_shape(model: str | Path) -> DecoderShape:
    """The shape of a built-in name, a Hugging Face folder or a config.json.

    Raises MissingError, MalformedError or InputError that names the field.
    """
    if str(model).lower() in BUILT_IN_CONFIGS:
        return shape_from_config(BUILT_IN_CONFIGS[str(model).lower()], str(model).lower())
    path = Path(model)
    file = path / "config.json" if path.is_dir() else path
    if not file.is_file():
        near = did_you_mean(str(model).lower(), BUILT_IN_CONFIGS)
        raise MissingError(
            f"{model} is neither a file nor a folder with a config.json.{near}",
            expected=f"a Hugging Face folder, a config.json, or one of {', '.join(BUILT_IN_CONFIGS)}",
            fix="give the path of the model, or one of these names",
        )
    if file.stat().st_size > MAX_CONFIG_BYTES:
        raise InputError(
            f"{file} has {file.stat().st_size} bytes", expected=f"at most {MAX_CONFIG_BYTES}",
            fix="give the config.json of the model, not its weights",
        )  # fmt: skip
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError, ValueError) as error:
        raise MalformedError(
            f"{file} is no JSON: {error}", expected="the config.json of a model", fix="download it again"
        ) from error
    if not isinstance(config, dict):
        raise MalformedError(f"{file} holds no object", expected='{"model_type": ...}', fix="download it again")
    name = path.resolve().name if path.is_dir() else path.resolve().parent.name
    return shape_from_config(config, name if name.isprintable() else repr(name))


def shape_from_config(config: JsonObject, name: str) -> DecoderShape:
    """The shape of a Hugging Face configuration.

    >>> shape_from_config(BUILT_IN_CONFIGS["llama-2-70b"], "llama").num_parameters
    68975329280
    """
    inner = config.get("text_config")
    fields = _ConfigReader(inner if isinstance(inner, dict) else config, name)
    kind = str(fields.config.get("model_type", config.get("model_type", "")))
    _check_decoder(kind, config, name)
    hidden = fields.count("hidden_size", "n_embd", "d_model", "n_embed")
    heads = fields.count("num_attention_heads", "n_head", "n_heads")
    head_size = fields.count("head_dim", "kv_channels", default=max(1, hidden // heads))
    kv_heads = _num_kv_heads(fields, kind, heads)
    width = fields.count("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size", "inner_dim", default=4 * hidden)
    matrices = 2 if kind in UNGATED_MLP_FAMILIES else 3
    layers = fields.count("num_hidden_layers", "n_layer", "n_layers")
    attention, kv_values, score, kv_heads = _attention_sizes(fields, hidden, heads, kv_heads, head_size)
    experts = fields.count("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts", default=0)
    per_token = fields.count("num_experts_per_tok", "num_experts_per_token", "moe_topk", default=min(2, experts))
    expert_width = fields.count("moe_intermediate_size", "expert_ffn_hidden_size", default=width)
    shared = fields.count("n_shared_experts", "num_shared_experts", default=0) * expert_width if experts else 0
    shared = fields.count("shared_expert_intermediate_size", default=shared) if experts else 0
    if per_token > experts:
        raise InputError(
            f"{name}: {per_token} experts per token out of {experts}", expected="at most as many as there are",
            fix="mend num_experts_per_tok in config.json",
        )  # fmt: skip
    matrices_per_width = matrices * hidden
    return DecoderShape(
        name=name, num_layers=layers, hidden_size=hidden, num_heads=heads, vocab_size=fields.count("vocab_size"),
        attention_parameters=attention, mlp_parameters=matrices_per_width * (shared if experts else width),
        expert_parameters=matrices_per_width * expert_width if experts else 0, num_experts=experts,
        experts_per_token=per_token,
        num_dense_layers=min(layers, fields.count("first_k_dense_replace", default=0)) if experts else 0,
        dense_mlp_parameters=matrices_per_width * width, kv_values=kv_values, num_kv_heads=kv_heads, score_flops=score,
        mlp_width=expert_width * per_token + shared if experts else width, num_mlp_matrices=matrices,
        is_tied=bool(fields.config.get("tie_word_embeddings", kind in {"gpt2", "gpt_bigcode", "opt", "bloom"})),
        num_positions=fields.count("max_position_embeddings",
        "n_positions") if kind in LEARNED_POSITION_FAMILIES else 0,
        max_context=fields.count("max_position_embeddings", "n_positions", "max_seq_len", default=0),
    )  # fmt: skip


@dataclass(frozen=True)
class _ConfigReader:
    """Reads counts out of a configuration that anybody may have written."""

    config: JsonObject
    name: str

    def count(self, *names: str, default: int | None = None) -> int:
        """The first of these fields that is there. Null stands for the default, as in Hugging Face's files."""
        for field in names:
            value = self.config.get(field)
            if value is None:
                continue
            least = 0 if default == 0 else 1
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MAX_COUNT:
                raise InputError(
                    f"{self.name}: {field} is {str(value)[:40]!r}", expected=f"a whole number from {least} on",
                    fix="mend it in config.json",
                )  # fmt: skip
            return value
        if default is None:
            raise InputError(
                f"{self.name}: config.json has no {names[0]}", expected=f"one of {', '.join(names)}",
                fix="give the config.json of a decoder",
            )  # fmt: skip
        return default


def _check_decoder(kind: str, config: JsonObject, name: str) -> None:
    if kind in ENCODER_FAMILIES or config.get("is_encoder_decoder"):
        raise InputError(
            f"{name} is {kind or 'an encoder'}, which gives no token after token",
            expected="a decoder, such as Llama, Mistral, Qwen, GPT-2 or Mixtral",
            fix="an encoder runs on one device: deepseek serve finds the fastest engine for it",
        )


def _num_kv_heads(fields: _ConfigReader, kind: str, heads: int) -> int:
    """The number of key and value heads. Falcon states it in fields of its own."""
    if fields.config.get("multi_query") is True and not fields.config.get("new_decoder_architecture"):
        return 1
    kv_heads = fields.count("num_key_value_heads", "num_kv_heads", "n_head_kv", default=heads)
    if kind == "falcon" and not fields.config.get("new_decoder_architecture"):
        kv_heads = heads
    if kv_heads > heads or heads % kv_heads:
        raise InputError(
            f"{fields.name}: {kv_heads} heads of keys for {heads} heads of queries",
            expected="a number that divides the heads of queries", fix="mend num_key_value_heads in config.json",
        )  # fmt: skip
    return kv_heads


def _attention_sizes(
    fields: _ConfigReader, hidden: int, heads: int, kv_heads: int, head_size: int
) -> tuple[int, int, int, int]:
    """Parameters of a layer's attention, values that a token leaves in the cache, FLOPs of a query and a key, and heads
    that the cache can be shared out by."""
    latent = fields.count("kv_lora_rank", default=0)
    if not latent:
        parameters = hidden * head_size * (2 * heads + 2 * kv_heads)
        return parameters, 2 * kv_heads * head_size, 4 * heads * head_size, kv_heads
    rotary = fields.count("qk_rope_head_dim")
    query, value = fields.count("qk_nope_head_dim") + rotary, fields.count("v_head_dim")
    low = fields.count("q_lora_rank", default=0)
    queries = hidden * low + low * heads * query if low else hidden * heads * query
    parameters = queries + hidden * (latent + rotary) + latent * heads * (query - rotary + value)
    return parameters + heads * value * hidden, latent + rotary, 2 * heads * (query + value), 1


def _llama_config(
    layers: int, hidden: int, heads: int, kv_heads: int, width: int, vocab: int, **more: Any
) -> JsonObject:
    return {
        "model_type": "llama", "num_hidden_layers": layers, "hidden_size": hidden, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "intermediate_size": width, "vocab_size": vocab, **more,
    }  # fmt: skip


def _gpt_config(layers: int, hidden: int, heads: int, vocab: int = 51200) -> JsonObject:
    return {
        "model_type": "gpt2", "n_layer": layers, "n_embd": hidden, "n_head": heads, "vocab_size": vocab,
        "n_positions": 2048,
    }  # fmt: skip


#: Shapes by name: the widths of published models, and a dense decoder of a hundred billion parameters.
BUILT_IN_CONFIGS: dict[str, JsonObject] = {
    "100b": _llama_config(90, 9216, 72, 8, 32256, 128256, max_position_embeddings=131072),
    "llama-2-7b": _llama_config(32, 4096, 32, 32, 11008, 32000, max_position_embeddings=4096),
    "llama-2-70b": _llama_config(80, 8192, 64, 8, 28672, 32000, max_position_embeddings=4096),
    "llama-3.1-8b": _llama_config(32, 4096, 32, 8, 14336, 128256, max_position_embeddings=131072),
    "llama-3.1-70b": _llama_config(80, 8192, 64, 8, 28672, 128256, max_position_embeddings=131072),
    "llama-3.1-405b": _llama_config(126, 16384, 128, 8, 53248, 128256, max_position_embeddings=131072),
    "mixtral-8x7b": _llama_config(32, 4096, 32, 8, 14336, 32000, num_local_experts=8, num_experts_per_tok=2),
    "gpt-j-6b": {**_gpt_config(28, 4096, 16, 50400), "model_type": "gptj"},
    "gpt-3-175b": _gpt_config(96, 12288, 96),
}
