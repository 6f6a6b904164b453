"""Generation of text by a causal language model."""
