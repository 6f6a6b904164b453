"""One owner: a table learned from under a privacy budget of its rows, and a bundle that says no more than the budget"""
