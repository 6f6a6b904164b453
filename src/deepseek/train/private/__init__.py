"""Training that tells little of any one row: a privacy budget, its accountant and ledger, noised gradients"""
