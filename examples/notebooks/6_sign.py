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
# # Signed, verified, refused
# A signature says who made a bundle; a changed byte is found, and named.

# %%
import tempfile
from pathlib import Path

import deepseek as ds
from deepseek.bundle.sign import generate_keys

keys = Path(tempfile.mkdtemp())
private, public, _ = generate_keys(keys / "release")
ds.ship(example="cancer", out="cancer", trials=1, key=private, overwrite=True)
ds.verify("cancer", key=public).summary()

# %%
ds.inspect("cancer", key=public)

# %% [markdown]
# Somebody moves the threshold.

# %%
decision = Path("cancer/decision.json")
decision.write_text(decision.read_text().replace("0.5", "0.9"))
report = ds.verify("cancer", key=public)
assert not report["ok"]
report.summary()
