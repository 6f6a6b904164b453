"""What a party computes in its own house: inputs of its rows, local steps, and the one vector that answers a task"""
