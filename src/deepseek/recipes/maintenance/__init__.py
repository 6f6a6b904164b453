"""Machines that will fail: run.py makes the bundle, figures.py measures it, page.py draws a fleet."""
