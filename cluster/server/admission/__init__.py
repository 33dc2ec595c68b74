"""Admission: what is changed in, or held against, a request that is otherwise allowed.

`chain` runs an ordered table of small functions (`table`), each in the file named after its plugin.
"""
