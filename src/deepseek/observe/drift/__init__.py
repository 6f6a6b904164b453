"""Whether what comes in now is still what the model was trained on, whether that touches its answers, and how good it
still is without labels.

    with open_logs([Path("predictions")], ReadLimits()) as logs:
        report = find_drift(open_bundle("loans"), logs, DriftChoice())

reference.py reads the data card, columns.py tests each column against it, joint.py tests all of them together against
earlier rows, performance.py estimates accuracy and AUC, drift.py is the whole way, words.py and page.py tell it.
"""
