"""DeepLIFT of a plain chain of layers, as perceptrons are: every row runs once, not once for each of its baselines.

    layers = find_chain(module)                                             None for whatever is no chain
    values, base, output = deeplift_chain(layers, rows, baselines, target)

Linear layers multiply by their weights and bends by their secants (rescale_rule.py), from the answer back to the
input, so neither twins nor a graph are needed: rows and baselines run side by side, and only their differences are
computed for pairs.
Weights are read at every call. Layers with hooks, of classes of their own or with a forward of their own are no chain.

Shapes: N rows, B baselines, P values a row, K outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepseek.explain.modules.rescale_rule import secant

#: One number in, one number out. By their exact classes: what derives from them may do something else.
ACTIVATIONS = frozenset(
    (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh, nn.Softplus,
     nn.Softsign, nn.Mish, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid)
)  # fmt: skip
HOOK_ATTRIBUTES = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def find_chain(module: Callable[..., object]) -> list[nn.Module] | None:
    """The layers of a Sequential of linear layers and bends."""
    if not isinstance(module, nn.Module) or _is_altered(module):
        return None
    if type(module) is nn.Linear or type(module) in ACTIVATIONS:
        return [module]
    if type(module) in (nn.Identity, nn.Dropout):
        return []  # nothing falls out of a module that is asked in earnest
    if type(module) is not nn.Sequential:
        return None
    chain: list[nn.Module] = []
    for part in module:
        layers = find_chain(part)
        if layers is None:
            return None
        chain += layers
    return chain


def _is_altered(module: nn.Module) -> bool:
    own = module.__dict__
    return "forward" in own or any(own.get(name) for name in HOOK_ATTRIBUTES)


def _activation_function(layer: nn.Module) -> Callable[[Tensor], Tensor]:
    """A layer that leaves what it is given as it was."""
    return (lambda z: layer(z.clone())) if getattr(layer, "inplace", False) else layer


def deeplift_chain(
    layers: Sequence[nn.Module], rows: Tensor, baselines: Tensor, target: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Contributions (N, B, P) to the outputs `target` (N,), the answers to baselines (N, B) and rows (N,)."""
    num_rows, sizes = len(rows), [len(rows), len(baselines)]
    with torch.no_grad():
        state = torch.cat([rows, baselines])
        seen = [state]
        for layer in layers:
            if type(layer) is nn.Linear:
                state = functional.linear(state, layer.weight, layer.bias)
            else:
                state = _activation_function(layer)(state)
            seen.append(state)
        answer, other = state[:num_rows], state[num_rows:]
        factors = torch.zeros_like(answer).scatter_(1, target[:, None], 1.0)[:, None]  # (N, 1 or B, width)
        for at in reversed(range(len(layers))):
            layer = layers[at]
            if type(layer) is nn.Linear:
                factors = factors @ layer.weight
                continue
            (z, base), (y, after) = (torch.split(each, sizes) for each in seen[at : at + 2])
            factors = factors * secant(_activation_function(layer), z.unsqueeze(1), base, y.unsqueeze(1), after)
        values = factors * (rows[:, None] - baselines)
        return values, other.t()[target], answer.gather(1, target[:, None])[:, 0]
