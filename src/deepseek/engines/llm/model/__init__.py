"""A causal language model of a Hugging Face folder: its files, graph, tokens, chat template and options."""
