"""Hidden states of cards and terminals as numbers: what a definition says of them, and the filters that follow them.

parameters.py what is learned; tables.py the same for the filters; filters.py what is believed of a key at a moment.
How it is learned, and followed over a table: features/states. The store compiles the filters (core/hidden.py).
"""
