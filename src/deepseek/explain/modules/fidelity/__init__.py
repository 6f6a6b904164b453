"""Whether what is explained is what the module itself answers: plain runs, reads of data by Python, and rounding."""
