"""Studies of a process: what is to be improved, which trials there were, and which recipes to try next.

What comes in: study.toml (definition.py) and a log of trials (log.py). What goes out: recipes to try (propose.py,
safe.py) and the figures of a report (outlook.py). Begin with study.py.
"""
