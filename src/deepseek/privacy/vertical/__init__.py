"""Two houses with other columns of the same people: which people, a linear model of both, answers of both together"""
