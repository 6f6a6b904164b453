"""The task of distributed.py: a character language model on tinyshakespeare, 6.2 M parameters, 24.9 MB of gradients."""

from __future__ import annotations

import torch
from fraud_features import data_folder
from torch import Tensor, nn

WIDTH, NUM_LAYERS, CONTEXT, NUM_CHARACTERS = 320, 5, 64, 65
SMALLER = {"num_layers": 4, "context": 96}  # 20.0 MB of gradients, for `scaling`


class CharacterModel(nn.Module):
    """(B, T) characters to (B, T, 65) logits of the next one."""

    def __init__(self, num_layers: int, context: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(NUM_CHARACTERS, WIDTH)
        self.place = nn.Parameter(0.02 * torch.randn(context, WIDTH))
        layer = nn.TransformerEncoderLayer(
            WIDTH, 5, 4 * WIDTH, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.body = nn.TransformerEncoder(layer, num_layers, nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, NUM_CHARACTERS)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(context), persistent=False)

    def forward(self, characters: Tensor) -> Tensor:
        return self.head(self.body(self.embed(characters) + self.place, mask=self.mask, is_causal=True))


def make_model(num_layers: int = NUM_LAYERS, context: int = CONTEXT) -> CharacterModel:
    torch.manual_seed(0)
    model = CharacterModel(num_layers, context)
    # TransformerEncoder copies one layer: all layers would start equal.
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.MultiheadAttention):
            nn.init.normal_(module.in_proj_weight, std=0.02)
    nn.init.normal_(model.embed.weight, std=0.02)
    return model


def gradient_bytes(model: nn.Module) -> int:
    return sum(4 * parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


class Text:
    """Training and validation text (the last tenth), and windows of it."""

    def __init__(self, context: int = CONTEXT) -> None:
        self.context = context
        text = (data_folder() / "tinyshakespeare" / "input.txt").read_text("utf-8")
        places = {character: index for index, character in enumerate(sorted(set(text)))}
        codes = torch.tensor([places[character] for character in text])
        self.train, self.validation = codes[: len(codes) * 9 // 10], codes[len(codes) * 9 // 10 :]

    def batch(self, step: int, rank: int, size: int) -> tuple[Tensor, Tensor]:
        """(size, self.context) characters and the next ones; another set for each step and rank."""
        generator = torch.Generator().manual_seed(1_000_003 * step + rank)
        starts = torch.randint(len(self.train) - self.context - 1, (size,), generator=generator)
        windows = torch.stack([self.train[start : start + self.context + 1] for start in starts.tolist()])
        return windows[:, :-1], windows[:, 1:]

    @torch.no_grad()
    def validation_loss(self, model: nn.Module, num_windows: int = 512) -> float:
        """Nats a character, on windows that stand evenly in the validation text."""
        starts = torch.linspace(0, len(self.validation) - self.context - 1, num_windows).long().tolist()
        windows = torch.stack([self.validation[start : start + self.context + 1] for start in starts])
        losses = [float(loss_of(model, part[:, :-1], part[:, 1:])) * len(part) for part in windows.split(32)]
        return sum(losses) / num_windows


def loss_of(model: nn.Module, inputs: Tensor, target: Tensor) -> Tensor:
    return nn.functional.cross_entropy(model(inputs).flatten(0, 1), target.flatten())
