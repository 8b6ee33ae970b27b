"""The closed loop: environments, planners, evaluation, reports."""
