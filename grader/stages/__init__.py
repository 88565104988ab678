"""The stages of a grading, in the order in which a learner can use them: numbers, manners, safety, costs, speed."""
