"""Ways in that a kind of bundle has of its own: what `predict`, `evaluate`, `serve` and `stream` do with it."""
