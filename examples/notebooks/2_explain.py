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
# # Why it answered so
# Exact influences of a table's columns, and of a torch module that the framework has never seen.

# %%
import deepseek as ds
from deepseek.data.table.examples import load_example

table, target, _ = load_example("cancer")
ds.ship(table, target=target, out="cancer", trials=1, overwrite=True)
why = ds.explain("cancer", table, rows=[0, 17])
why

# %% [markdown]
# Base value, contributions and residual add up to the output; the residual says how far to trust it.

# %%
row = why["explanations"][0]
assert abs(row["base_value"] + sum(row["values"].values()) + row["residual"] - row["output"]) < 1e-6

# %%
import torch

torch.manual_seed(0)
module = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
inputs, baselines = torch.randn(5, 4), torch.zeros(5, 4)
attribution = ds.explain.attribute(module, inputs, baselines)
attribution.values
