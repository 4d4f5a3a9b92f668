"""The tests of the Python package and the command. `tests.support` holds what they share."""
