"""What a study minimizes: trees, or a linear model or perceptron.

learner = learner_of(study)         # num_parameters, initial(seed), probabilities(parameters, inputs)
"""

from __future__ import annotations

from deepseek.privacy.parties.objective import Objective
from deepseek.privacy.parties.trees import TreeObjective
from deepseek.privacy.study.definition import Study


def learner_of(study: Study) -> Objective | TreeObjective:
    """By the kind of model in its settings."""
    return TreeObjective.of(study) if study.settings.model.kind == "trees" else Objective.of(study)
