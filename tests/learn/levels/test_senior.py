"""The labs of the senior level keep the contract of labs."""

from learn.levels.contract import (  # noqa: F401  pytest collects them here
    test_a_lab_has_its_words_in_both_languages,
    test_a_lab_has_two_to_five_wrong_solutions,
    test_a_wrong_solution_is_refused_with_its_mistake,
    test_data_of_a_lab_follows_from_the_learner_and_differs_between_learners,
    test_the_reference_gets_all_points,
    test_what_another_learner_handed_in_is_refused,
)

LEVEL = "senior"
