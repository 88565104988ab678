"""Grades lessons: `python -m grader day07`."""
