"""How far an explanation can be trusted: faithfulness curves, randomized models, least evidence, stability."""
