"""A Hugging Face module as a row of blocks that can be cut anywhere, and how the matrices of each block are split.

Three shapes are known: Llama (and Mistral, Qwen 2 and 3), GPT-2 and BERT. Others with the same names do more between
their layers (Gemma scales its embeddings), so they are refused. Each block takes and gives (batch, tokens, width) and
knows under which names its weights stand in the file. Columns of the first matrix of a pair and rows of the second lie
on one device, so that a pair costs one all-reduce (Megatron, arXiv 1909.08053).
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.tensor import Replicate
from torch.distributed.tensor.parallel import ColwiseParallel, ParallelStyle, RowwiseParallel

from deepseek.errors import InputError

#: config.model_type of what runs as a row of blocks; tests compare each with transformers.
KNOWN = ("llama", "mistral", "qwen2", "qwen3", "gpt2", "bert")
ATTENTION = ("sdpa", "eager")  # implementations that take a mask as numbers to be added

Mask = Tensor | None  # (batch, tokens) bool: True where a token is


class Block(nn.Module):
    """A part of the row. `origins` are the names of its children in the file, the first that is there; `pairs` say
    which of its matrices are split by columns and which by rows."""

    origins: dict[str, tuple[str, ...]]
    columns: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()

    def styles(self) -> dict[str, ParallelStyle]:
        """Torch's style of each matrix that is there."""
        there = dict(self.named_modules())
        found: dict[str, ParallelStyle] = {name: ColwiseParallel() for name in self.columns if name in there}
        return found | {name: RowwiseParallel() for name in self.rows if name in there}

    def narrow(self, count: int) -> None:
        """What a module must know of its share, beside its matrices."""


class Words(Block):
    """Tokens (batch, tokens) to vectors, with learned positions and kinds where the model has them."""

    def __init__(self, origins: dict[str, str], children: dict[str, nn.Module | None]) -> None:
        super().__init__()
        for name in ("words", "places", "kinds", "norm"):
            self.add_module(name, children.get(name))
        self.origins = {name: (origin,) for name, origin in origins.items()}

    def styles(self) -> dict[str, ParallelStyle]:
        return {"words": RowwiseParallel(input_layouts=Replicate(), output_layouts=Replicate())}

    def forward(self, tokens: Tensor, mask: Mask = None) -> Tensor:
        parts = cast("dict[str, Any]", self._modules)
        hidden: Tensor = parts["words"](tokens)
        if parts["kinds"] is not None:
            hidden = hidden + parts["kinds"](torch.zeros_like(tokens))
        if parts["places"] is not None:
            hidden = hidden + parts["places"](torch.arange(tokens.shape[1], device=tokens.device))
        return hidden if parts["norm"] is None else cast("Tensor", parts["norm"](hidden))


class Layer(Block):
    """One layer of any of the three. A decoder's looks back only."""

    def __init__(self, origin: str, layer: nn.Module, rotary: nn.Module | None, *, is_causal: bool) -> None:
        super().__init__()
        self.layer = layer
        self.origins = {"layer": (origin,)}
        self.is_causal = is_causal
        self._rotary = (rotary,)  # shared by all layers, and without parameters: not a child

    columns = (
        *(f"layer.self_attn.{name}_proj" for name in "qkv"), "layer.mlp.gate_proj", "layer.mlp.up_proj",
        "layer.attn.c_attn", "layer.mlp.c_fc", *(f"layer.attention.self.{name}" for name in ("query", "key", "value")),
        "layer.intermediate.dense",
    )  # fmt: skip
    rows = (
        "layer.self_attn.o_proj", "layer.mlp.down_proj", "layer.attn.c_proj", "layer.mlp.c_proj",
        "layer.attention.output.dense", "layer.output.dense",
    )  # fmt: skip

    def narrow(self, count: int) -> None:
        attention = getattr(self.layer, "attn", None)
        if attention is not None:  # GPT-2 parts its fused matrix by this
            attention.split_size //= count

    def forward(self, hidden: Tensor, mask: Mask = None) -> Tensor:
        more: dict[str, Any] = {}
        rotary = self._rotary[0]
        if rotary is not None:
            places = torch.arange(hidden.shape[1], device=hidden.device)[None]
            more["position_embeddings"] = rotary(hidden, places)
        output = self.layer(hidden, attention_mask=self._seen(hidden, mask), **more)
        return cast("Tensor", output[0] if isinstance(output, tuple) else output)

    def _seen(self, hidden: Tensor, mask: Mask) -> Tensor:
        """(batch, 1, queries, keys), added to the scores: 0 where a query looks, else the least number. A place without
        a token looks at itself, for a softmax over nothing has no value."""
        length = hidden.shape[1]
        if mask is None:
            mask = torch.ones(hidden.shape[:2], dtype=torch.bool, device=hidden.device)
        seen = mask[:, None, None, :].expand(-1, 1, length, -1)
        if self.is_causal:
            seen = seen & torch.ones(length, length, dtype=torch.bool, device=hidden.device).tril()
        seen = seen | torch.eye(length, dtype=torch.bool, device=hidden.device)
        return torch.zeros_like(seen, dtype=hidden.dtype).masked_fill(~seen, torch.finfo(hidden.dtype).min)


class End(Block):
    """Vectors to what the model gives: logits of tokens, logits of classes, or the vectors themselves."""

    def __init__(
        self, origins: dict[str, tuple[str, ...]], children: dict[str, nn.Module], width: int, *, is_per_token: bool
    ) -> None:
        super().__init__()
        self.parts = list(children)
        for name, child in children.items():
            self.add_module(name, child)
        self.origins = origins
        self.width, self.is_per_token = width, is_per_token

    def styles(self) -> dict[str, ParallelStyle]:
        return {"head": ColwiseParallel(output_layouts=Replicate())} if "head" in self.parts else {}

    def forward(self, hidden: Tensor, mask: Mask = None) -> Tensor:
        for name in self.parts:
            hidden = self.get_submodule(name)(hidden)
        return hidden


def blocks_of(module: nn.Module) -> list[Block]:
    """The row of blocks of a Hugging Face module, whose weights may be on torch's meta device.

    Raises InputError for a module of another shape.
    """
    _check_known(module)
    model: Any = module
    config = model.config
    tied = getattr(config, "tie_word_embeddings", False)
    if hasattr(model, "lm_head") and hasattr(getattr(model, "model", None), "layers"):
        rotary = type(model.model.rotary_emb)(config)  # made anew: on the meta device it would hold nothing
        first = Words({"words": "model.embed_tokens"}, {"words": model.model.embed_tokens})
        layers = [(f"model.layers.{n}", layer) for n, layer in enumerate(model.model.layers)]
        end = _decoder_end(model, "model.norm", model.model.norm, "model.embed_tokens" if tied else "")
    elif hasattr(model, "lm_head") and hasattr(getattr(model, "transformer", None), "wte"):
        rotary = None
        first = Words(
            {"words": "transformer.wte", "places": "transformer.wpe"},
            {"words": model.transformer.wte, "places": model.transformer.wpe},
        )
        layers = [(f"transformer.h.{n}", layer) for n, layer in enumerate(model.transformer.h)]
        end = _decoder_end(model, "transformer.ln_f", model.transformer.ln_f, "transformer.wte" if tied else "")
    elif hasattr(getattr(model, "bert", model), "embeddings") and hasattr(getattr(model, "bert", model), "encoder"):
        return _encoder(model, config)
    else:
        raise _unknown(module)
    found: list[Block] = [first, *(Layer(origin, layer, rotary, is_causal=True) for origin, layer in layers), end]
    return [_with_plain_linears(block) for block in found]


def _check_known(module: nn.Module) -> None:
    config: Any = getattr(module, "config", None)
    if getattr(config, "model_type", None) not in KNOWN or getattr(config, "is_decoder", False):
        raise _unknown(module)
    used = getattr(config, "_attn_implementation", "sdpa")
    if used not in ATTENTION:
        raise InputError(
            f"{type(module).__name__} computes attention by {used!r}", expected=" or ".join(ATTENTION),
            fix='make it with attn_implementation="sdpa"',
        )  # fmt: skip


def _unknown(module: nn.Module) -> InputError:
    return InputError(
        f"{type(module).__name__} is of none of the shapes that can be split", expected=f"one of {', '.join(KNOWN)}",
        fix="give LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM, GPT2LMHeadModel, BertModel "
        "or BertForSequenceClassification of transformers",
    )  # fmt: skip


def _decoder_end(model: Any, origin: str, norm: nn.Module, tied: str) -> End:
    names = ("lm_head", tied) if tied else ("lm_head",)
    head = nn.Linear(model.lm_head.in_features, model.lm_head.out_features, bias=model.lm_head.bias is not None,
                     device="meta", dtype=model.lm_head.weight.dtype)  # fmt: skip
    return End({"norm": (origin,), "head": names}, {"norm": norm, "head": head}, head.out_features, is_per_token=True)


def _encoder(model: Any, config: Any) -> list[Block]:
    inner, base = (model.bert, "bert.") if hasattr(model, "bert") else (model, "")
    embeddings = inner.embeddings
    names = {"words": "word_embeddings", "places": "position_embeddings", "kinds": "token_type_embeddings",
             "norm": "LayerNorm"}  # fmt: skip
    first = Words(
        {name: f"{base}embeddings.{path}" for name, path in names.items()},
        {name: getattr(embeddings, path) for name, path in names.items()},
    )
    layers = [
        Layer(f"{base}encoder.layer.{n}", layer, None, is_causal=False) for n, layer in enumerate(inner.encoder.layer)
    ]
    if hasattr(model, "classifier"):
        end = End(
            {"pooler": (f"{base}pooler",), "classifier": ("classifier",)},
            {"pooler": inner.pooler, "classifier": model.classifier}, config.num_labels, is_per_token=False,
        )  # fmt: skip
    else:
        end = End({}, {}, config.hidden_size, is_per_token=True)
    return [first, *layers, end]


def _with_plain_linears(block: Block) -> Block:
    """GPT-2's Conv1D is a linear layer whose matrix is stored turned; torch's styles know linear layers only."""
    for name, child in list(block.named_modules()):
        if type(child).__name__ != "Conv1D":
            continue
        stored: Any = child
        linear: Any = nn.Linear(
            stored.weight.shape[0], stored.weight.shape[1], device="meta", dtype=stored.weight.dtype
        )
        linear.is_turned = True
        linear.num_fused = 3 if name.endswith("c_attn") else 1
        parent, _, last = name.rpartition(".")
        setattr(block.get_submodule(parent), last, linear)
    return block
