"""Checks across values, rows and files: what is kept out, what loses a value, what is only reported."""
