"""The engine's operations, one module each, backed by one kernel each where they have one.

Most of them are solutions of lessons: `solutions/dayNN_…/lesson.py` is a link to the module here, and the comments `solve:` and
`stub:` in it are what the lesson's stub is made by (see grader/stubs.py).
"""
