"""The figures of the report, each with the data behind it."""
