"""A Hugging Face folder of a text model, read without torch: sizes, labels, tensors, tokenizer, pooling."""
