"""Raw sensor rows of a fleet to remaining lives and alarms: a state that each row changes, windows, the bundle's model.

    scorer = FleetScorer.open(bundle, state_folder)       # definition, rule, state and model of one bundle
    scorer.answer([b'{"unit": "M01", "hour": 12, "vibration": 2.1}'])     # lines of JSON, or blocks of vibration

Order of the modules: reading (messages to columns), scorer, routes. What carries messages here is that of events:
serve/streams for a stream, serve/scoring/queue.py for HTTP.
"""
