"""What people already work with, as thin doors to the rooms: scikit-learn's estimators, its fitted pipelines.

    from deepseek.sklearn import AutoClassifier, to_bundle

Each group needs its own library and nothing else; nothing of it is imported with this package.
"""
