"""Checks of every answer, and of every export before it is used.

finite.py     no NaN and no infinite number leaves as an answer
edges.py      rows at the edge of what a model may be sent: missing, zero, silent, black, extreme
gate.py       an export against its reference on such rows
"""
