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
# # Is the new one better?
# Two bundles on the same rows, with an interval around each difference: better, worse, or no more than noise.

# %%
import numpy as np

import deepseek as ds
from deepseek.data.table.examples import load_example

table, target, _ = load_example("cancer")
order = np.random.default_rng(0).permutation(table.num_rows)
known, later = table.take(order[:400]), table.take(order[400:])
few = table.take(order[:60])

# %%
for name, rows in (("few", few), ("all", known)):
    ds.ship(rows, target=target, out=name, trials=1, overwrite=True)

# %%
ds.compare(["few", "all"], later)
