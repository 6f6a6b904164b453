"""Whether what comes in now is still what the model was trained on, whether that touches its answers, and how good it
still is without labels.

    with open_logs([Path("predictions")], ReadLimits()) as logs:
        report = find_drift(open_bundle("loans"), logs)

reference.py reads the data card, columns.py tests each column against it. scores.py, counts.py and texts.py make
numbers of rows, change.py tests all of them together, joint.py does so against earlier rows of the log. calibration.py
sets probabilities right by labels, performance.py estimates accuracy and AUC, answers.py reads what that takes from the
log. drift.py is the whole way, words.py and page.py tell it.
"""
