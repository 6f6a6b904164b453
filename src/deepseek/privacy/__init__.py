"""Several owners, one model: federated studies, whose parties sign what is done with their rows

    folder = create_study(Path("study"), StudyRequest(...))         # study.json: model, rounds, protection, parties
    simulation = simulate(open_study(Path("study")), table, 10)     # every party in this process: what may be expected
    serve_study(...), join_study(...)                               # each in its house, over TLS

Begin reading at study/definition.py, then rounds/course.py: both the simulation and the coordinator follow it.
"""
