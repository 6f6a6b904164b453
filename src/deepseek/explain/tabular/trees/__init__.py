"""Exact Shapley values of trees, one player for each raw column: from tables of shallow trees, by a walk in deep ones.

Of the path-dependent game (Lundberg et al. 2020, algorithm 2): a column that is known is followed, of one that is not
both branches count by their training weight. The features of a column (a code for each level, a mark for gaps) are
known together or not at all, so that the values are those of the columns and no sum of smaller players' values.
"""
