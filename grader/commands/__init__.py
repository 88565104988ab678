"""The commands of `python -m grader`, one module for each kind of user."""
