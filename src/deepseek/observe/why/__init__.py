"""Which slice of the requests explains what has gone wrong: a window of a log against its past.

    with open_logs([Path("predictions")], ReadLimits()) as logs:
        findings = find_causes(logs, WindowChoice(since_s=600))

badness.py says what counts as bad, coding.py makes small whole numbers of columns, counting.py counts them, scoring.py
says how much of what went wrong a slice explains, causes.py is the whole way, words.py and page.py tell it.
"""
