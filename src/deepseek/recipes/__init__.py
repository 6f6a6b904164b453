"""Industry solutions: choices only, no algorithm. `deepseek recipe NAME` runs one; registry.py lists them."""
