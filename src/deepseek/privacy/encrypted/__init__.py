"""Answers to rows that the server never sees: linear models on numbers under CKKS, whose key the asker alone holds"""
