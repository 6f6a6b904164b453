"""From rows without labels to a model: people label in a page, and each next example is worth its minute.

What comes in: a table, or a folder of pictures, sounds or texts (project/sources.py). What is kept: one SQLite file of
items, labels and an audit of every change (project/). What goes out: what to ask next and when to stop (choose/), a
page where people label (page/), labels with their confidence as a table for `ship` (training.py). Begin with
project/project.py.
"""
