"""A customer service assistant: run.py makes the bundle, documents.py reads a folder, example.py has a small shop."""
