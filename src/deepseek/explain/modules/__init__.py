"""Torch modules: what every value of an input, and every layer, contributes to one output.

problem.py says what is explained; layer_path.py goes through the layers; gradient_methods.py has DeepLIFT and
integrated gradients, on rules.py and paired_forward.py."""
