"""Graphs of cards and terminals: who met whom, how surprising that is, and rings that are planted to learn from."""
