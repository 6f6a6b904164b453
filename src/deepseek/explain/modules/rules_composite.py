"""Calls of torch that do many things at once, done one by one, so that each has a rule: attention and recurrent nets.

Equations as in the documentation of torch: scaled_dot_product_attention, multi_head_attention_forward, LSTM, GRU, RNN.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from deepseek.explain.modules.paired_forward import RULES, TorchCall

State = tuple[Tensor, ...]


def attention_rule(call: TorchCall) -> Tensor | None:
    """scaled_dot_product_attention, without dropout."""
    q, k, v = map(call.argument, ("query", "key", "value"))
    if call.argument("dropout_p"):
        return None
    with call.paired:
        if call.argument("enable_gqa"):
            times = q.shape[-3] // k.shape[-3]
            k, v = k.repeat_interleave(times, -3), v.repeat_interleave(times, -3)
        scale = call.argument("scale")
        scores = q @ k.transpose(-2, -1) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
        mask = call.argument("attn_mask")
        if call.argument("is_causal"):
            mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        return attend(scores, mask, v)


def attend(scores: Tensor, mask: Tensor | None, v: Tensor) -> Tensor:
    """Softmax of scores (..., L, S) times values (..., S, D). `mask`: true where to look, or what to add."""
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
    return functional.softmax(scores, dim=-1) @ v


def multi_head_rule(call: TorchCall) -> Any:
    """multi_head_attention_forward as nn.MultiheadAttention calls it: (L, N, E), with one table of weights."""
    q, k, v, width, num_heads = map(call.argument, ("query", "key", "value", "embed_dim_to_check", "num_heads"))
    extra = any(call.argument(name) is not None for name in ("bias_k", "bias_v", "static_k", "static_v"))
    drops = call.argument("training") and call.argument("dropout_p")
    if extra or drops or call.argument("use_separate_proj_weight") or call.argument("add_zero_attn") or q.ndim != 3:
        return None
    weight, bias, out_weight, out_bias = map(
        call.argument, ("in_proj_weight", "in_proj_bias", "out_proj_weight", "out_proj_bias")
    )
    with call.paired:
        weights = weight.chunk(3)
        biases = (None, None, None) if bias is None else bias.chunk(3)

        def heads(value: Tensor, place: int) -> Tensor:  # (L, N, E) -> (N, H, L, D)
            done = functional.linear(value, weights[place], biases[place])
            return done.view(*value.shape[:2], num_heads, -1).permute(1, 2, 0, 3)

        scores = heads(q, 0) @ heads(k, 1).transpose(-2, -1) / math.sqrt(width // num_heads)
        mask, padding = call.argument("attn_mask"), call.argument("key_padding_mask")
        if mask is not None:
            mask = mask.view(-1, num_heads, *mask.shape[-2:]) if mask.ndim == 3 else mask
            scores = scores.masked_fill(mask, -math.inf) if mask.dtype == torch.bool else scores + mask
        if padding is not None:
            padding = padding[:, None, None]
            scores = scores.masked_fill(padding, -math.inf) if padding.dtype == torch.bool else scores + padding
        shares = functional.softmax(scores, dim=-1)
        joined = (shares @ heads(v, 2)).permute(2, 0, 1, 3).flatten(2)
        output = functional.linear(joined, out_weight, out_bias)
        if not call.argument("need_weights"):
            return output, None
        return output, shares.mean(1) if call.argument("average_attn_weights") else shares


def recurrent_rule(call: TorchCall) -> Any:
    """lstm, gru, rnn_tanh, rnn_relu (input, hx, weights, has_biases, layers, dropout, train, bidirectional,
    batch_first), unrolled. Not packed sequences, nor an LSTM with a projection."""
    if call.argument("batch_sizes") is not None or (call.argument("train") and call.argument("dropout")):
        return None
    z, start, weights, has_bias, num_layers, both_ways, batch_first = map(
        call.argument, ("input", "hx", "params", "has_biases", "num_layers", "bidirectional", "batch_first")
    )
    is_lstm = call.name == "lstm"
    starts: State = tuple(start) if is_lstm else (start,)
    num_each, num_ways = (4 if has_bias else 2), (2 if both_ways else 1)
    if len(weights) != num_each * num_layers * num_ways:
        return None
    step = {"lstm": _lstm_step, "gru": _gru_step, "rnn_tanh": _rnn_step(torch.tanh), "rnn_relu": _rnn_step(torch.relu)}[
        call.name
    ]
    ends: list[State] = []
    with call.paired:
        steps = list(z.unbind(1 if batch_first else 0))
        for layer in range(num_layers):
            ways: list[list[Tensor]] = []
            for way in range(num_ways):
                place = layer * num_ways + way
                tables = list(weights[place * num_each : (place + 1) * num_each])
                state = tuple(each[place] for each in starts)
                outputs: list[Tensor] = []
                for x in steps if way == 0 else reversed(steps):
                    state = step(x, state, tables if has_bias else [*tables, None, None])
                    outputs.append(state[0])
                ways.append(outputs if way == 0 else outputs[::-1])
                ends.append(state)
            steps = ways[0] if num_ways == 1 else [torch.cat(pair, dim=-1) for pair in zip(*ways, strict=True)]
        whole = torch.stack(steps, dim=1 if batch_first else 0)
        return whole, *(torch.stack([end[part] for end in ends]) for part in range(len(starts)))


def _lstm_step(x: Tensor, state: State, tables: list[Any]) -> State:
    h, c = state
    gates = functional.linear(x, tables[0], tables[2]) + functional.linear(h, tables[1], tables[3])
    i, f, g, o = gates.chunk(4, dim=-1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def _gru_step(x: Tensor, state: State, tables: list[Any]) -> State:
    (h,) = state
    r, z, n = functional.linear(x, tables[0], tables[2]).chunk(3, dim=-1)
    hr, hz, hn = functional.linear(h, tables[1], tables[3]).chunk(3, dim=-1)
    z = torch.sigmoid(z + hz)
    n = torch.tanh(n + torch.sigmoid(r + hr) * hn)
    return (n + z * (h - n),)


def _rnn_step(bend: Callable[[Tensor], Tensor]) -> Callable[[Tensor, State, list[Any]], State]:
    def step(x: Tensor, state: State, tables: list[Any]) -> State:
        return (bend(functional.linear(x, tables[0], tables[2]) + functional.linear(state[0], tables[1], tables[3])),)

    return step


RULES.update({"scaled_dot_product_attention": attention_rule, "multi_head_attention_forward": multi_head_rule})
RULES.update(dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), recurrent_rule))
