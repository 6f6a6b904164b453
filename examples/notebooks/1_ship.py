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
# # From a table to a bundle
# Ship a model, look at its card, ask it, and measure it on rows of your own. It takes a minute.

# %%
import deepseek as ds
from deepseek.data.table.examples import load_example

table, target, _ = load_example("cancer")
shipped = ds.ship(table, target=target, out="cancer", trials=2, candidates=["linear"], overwrite=True)
shipped

# %% [markdown]
# The bundle is a folder. Everything that the card shows comes from its files, and every byte is checked.

# %%
ds.verify("cancer").summary()

# %%
model = ds.load("cancer")
model.predict(table.drop([target]))

# %% [markdown]
# Figures on labelled rows, with intervals; these rows were partly learned from, so they flatter the model.

# %%
ds.evaluate("cancer", table)
