"""Worker processes that call a function for the elements of an iteration.

Each worker shares memory with the parent process in anonymous files: tensors travel there, and only
their dtypes and shapes through a pipe. The files have no names, so nothing is left behind when a
process is killed.
"""
