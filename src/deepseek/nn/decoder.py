"""A small text decoder with the architecture of GPT-2: token and position embeddings, pre-norm blocks of causal
attention and a feed-forward part, and an output layer that shares the embedding.

    decoder = Decoder(DecoderShape(vocab_size=1024))
    logits = decoder(ids)                        # (B, S) -> (B, S, V)
    safetensors.numpy.save_file(decoder.tensors(), "model.safetensors")

Shapes: B sequences, S tokens, E width, H heads, D head size, V vocabulary.

Source: Radford et al. 2019, section 2.3. Names and layout of the weights are those of transformers' GPT2LMHeadModel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from deepseek.contracts import Float32, JsonObject
from deepseek.errors import InputError


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """Sizes of a decoder."""

    vocab_size: int
    num_layers: int = 4
    num_heads: int = 4
    width: int = 128
    max_positions: int = 256  # tokens of a text

    def __post_init__(self) -> None:
        for name in ("vocab_size", "num_layers", "num_heads", "width", "max_positions"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}", expected="1 or more", fix=f"raise {name}")
        if self.width % self.num_heads:
            raise InputError(
                f"width {self.width} does not divide among {self.num_heads} heads",
                expected="a multiple of num_heads",
                fix="change one of them",
            )

    def config(self, end_id: int) -> JsonObject:
        """config.json for transformers. `end_id` is the token that ends a text."""
        return {
            "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "activation_function": "gelu_new",
            "n_layer": self.num_layers, "n_head": self.num_heads, "n_embd": self.width, "n_inner": None,
            "n_positions": self.max_positions, "vocab_size": self.vocab_size, "layer_norm_epsilon": 1e-5,
            "embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0,
            "bos_token_id": end_id, "eos_token_id": end_id, "tie_word_embeddings": True, "dtype": "float32",
        }  # fmt: skip


class Block(nn.Module):
    """(B, S, E) -> (B, S, E)."""

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        self.num_heads = shape.num_heads
        self.norm1, self.norm2 = nn.LayerNorm(shape.width), nn.LayerNorm(shape.width)
        self.qkv = nn.Linear(shape.width, 3 * shape.width)
        self.out = nn.Linear(shape.width, shape.width)
        self.up = nn.Linear(shape.width, 4 * shape.width)
        self.down = nn.Linear(4 * shape.width, shape.width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attend(self.norm1(x))
        inner = functional.gelu(self.up(self.norm2(x)), approximate="tanh")  # (B, S, 4E)
        y: Tensor = x + self.down(inner)
        return y

    def attend(self, x: Tensor) -> Tensor:
        """Causal attention (B, S, E) -> (B, S, E): a token sees itself and the tokens before it."""
        num_texts, length, width = x.shape
        parts = self.qkv(x).view(num_texts, length, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)  # (3, B, H, S, D)
        y = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2], is_causal=True)  # (B, H, S, D)
        out: Tensor = self.out(y.transpose(1, 2).reshape(num_texts, length, width))
        return out


class Decoder(nn.Module):
    """Token ids (B, S), S up to max_positions -> logits (B, S, V) of the token that follows each."""

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        self.shape = shape
        self.tokens = nn.Embedding(shape.vocab_size, shape.width)
        self.positions = nn.Embedding(shape.max_positions, shape.width)
        self.layers = [Block(shape) for _ in range(shape.num_layers)]
        self.blocks = nn.ModuleList(self.layers)
        self.norm = nn.LayerNorm(shape.width)
        self._init_weights()

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids) + self.positions.weight[: ids.shape[1]]  # (B, S, E)
        for block in self.layers:
            x = block(x)
        return functional.linear(self.norm(x), self.tokens.weight)

    def tensors(self) -> dict[str, Float32]:
        """The weights under the names of GPT2LMHeadModel, whose linear layers are stored as (fan in, fan out)."""
        tensors = {
            "transformer.wte.weight": self.tokens.weight,
            "transformer.wpe.weight": self.positions.weight,
            "transformer.ln_f.weight": self.norm.weight,
            "transformer.ln_f.bias": self.norm.bias,
        }
        for index, block in enumerate(self.layers):
            parts: dict[str, nn.Linear | nn.LayerNorm] = {
                "ln_1": block.norm1, "attn.c_attn": block.qkv, "attn.c_proj": block.out,
                "ln_2": block.norm2, "mlp.c_fc": block.up, "mlp.c_proj": block.down,
            }  # fmt: skip
            for name, part in parts.items():
                tensors[f"transformer.h.{index}.{name}.weight"] = (
                    part.weight.T if isinstance(part, nn.Linear) else part.weight
                )
                tensors[f"transformer.h.{index}.{name}.bias"] = part.bias
        return {name: np.ascontiguousarray(tensor.detach().numpy(), np.float32) for name, tensor in tensors.items()}

    def _init_weights(self) -> None:
        """Initialize as GPT-2: normal with deviation .02, and less where a block adds to the residual stream."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        for block in self.layers:
            for layer in (block.out, block.down):
                nn.init.normal_(layer.weight, std=0.02 / math.sqrt(2 * self.shape.num_layers))
