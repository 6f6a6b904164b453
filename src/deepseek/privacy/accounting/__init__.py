"""What a privacy budget is spent on: epsilon at delta of noised sums, and who refuses when it is spent"""
