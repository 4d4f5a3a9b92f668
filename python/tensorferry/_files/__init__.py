"""Arrays in files: opening and saving."""
