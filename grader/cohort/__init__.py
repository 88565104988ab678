"""Grades a folder of submissions into a gradebook: each in processes of its own, none within another's reach.

`submissions` finds and takes them, `job` grades one, `pool` runs many at a time, `state` remembers what was graded,
`gradebook` writes it down.
"""
