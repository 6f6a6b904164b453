"""What is computed by somebody who reads nothing: linear models on encrypted rows, and sums of several parties (CKKS)"""
