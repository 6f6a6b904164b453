"""A table of past transactions, played through the scorer in the order of time, as fast as is asked for.

    rows = read_rows(table, definition, names, injections=[inject(table, definition, "card", seed=0)])   # rows.py
    playback = play(StreamScorer(scorer), rows, Pacing(speed=10))                                        # player.py
    report = measure(rows, playback, context)                                                            # figures.py

Order of the modules: injection (fraud that is planted into the rows), rows, player, figures, drawing, page. Rows go the
way of a stream (serve/streams): as JSON, on the disk before they count. A verdict comes when the label delay is over.
What is planted is known to the figures alone: the scorer gets a row like any other.
"""
