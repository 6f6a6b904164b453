"""`deepseek convert`: any encoder of transformers as a graph that is served without torch."""
