# ---
# jupyter:
#   jupytext:
#     formats: py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Train a module of your own
# The loop shows the curve of the loss while it runs, and the result keeps it.

# %%
import torch
from torch import nn

from deepseek.train.loop.config import TrainConfig
from deepseek.train.loop.loop import fit

torch.manual_seed(0)
inputs = torch.randn(512, 8)
targets = (inputs[:, :1] * inputs[:, 1:2] > 0).float()
batches = [(inputs[start : start + 32], targets[start : start + 32]) for start in range(0, 512, 32)]

# %%
module = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
result = fit(module, batches, TrainConfig(epochs=20, lr=1e-2), loss=nn.functional.binary_cross_entropy_with_logits)
result

# %%
assert result.losses[-1] < result.losses[0]
