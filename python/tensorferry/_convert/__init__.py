"""Values of Python and of other libraries, read as arrays of numbers."""
