"""What a study minimizes: trees, a linear model or perceptron, or a torch module of the parties' own.

learner = learner_of(study)         # num_parameters, initial(seed), probabilities(parameters, inputs)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.extras import need
from deepseek.privacy.parties.objective import Objective
from deepseek.privacy.parties.trees import TreeObjective
from deepseek.privacy.study.definition import Study

if TYPE_CHECKING:
    from deepseek.privacy.parties.module import ModuleObjective


def learner_of(study: Study) -> Objective | TreeObjective | ModuleObjective:
    """By the kind of model in its settings. InputError for a torch module whose file this process was not given."""
    kind = study.settings.model.kind
    if kind == "trees":
        return TreeObjective.of(study)
    if kind == "module":
        need("torch", extra="train")
        from deepseek.privacy.parties.module import ModuleObjective

        return ModuleObjective.of(study)
    return Objective.of(study)
