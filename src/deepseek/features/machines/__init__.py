"""Machines over time: sensor rows by machine -> windows, remaining life, early warning.

histories = read_histories(table, columns)           # sorted, checked; one array a machine
definition = fit_windows(histories, life)            # sensors, their spread, a health index; kept in a bundle
rows = window_rows(definition, histories)            # one row a moment: what a model reads
"""
