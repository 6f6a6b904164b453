"""Raw events to chances: features from a state that each event changes, trees, decisions, reasons for alerts alone.

    scorer = EventScorer.open(bundle, state_folder)       # definition, store and trees of one bundle
    queue = ScoringQueue(scorer, max_rows)                # events of many requests together; synced before any answer
    create_app(..., more_routes=[ScoringRoutes("cards", queue)])     # POST /v1/models/cards:score and :label

Order of the modules: reading (bytes to columns), scorer, writing (answers to bytes), queue, routes.
"""
