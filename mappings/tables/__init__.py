"""The shipped mapping tables: which code means what."""
