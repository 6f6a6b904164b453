"""Whatever holds a table -> a Table of typed columns. read.py is the way in."""
