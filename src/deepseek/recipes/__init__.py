"""Industry solutions: choices only, no algorithm. Each file runs by itself: python -m deepseek.recipes.NAME."""
