"""What is computed by somebody who reads nothing: linear models on encrypted rows, sums of several parties (CKKS)"""
