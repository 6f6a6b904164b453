"""Nets over a course in time: plain arrays (weights.py), and the torch modules that learn them (modules.py)."""
