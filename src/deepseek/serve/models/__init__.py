"""What is loaded, and how rows become arrays for an engine and its outputs answers."""
