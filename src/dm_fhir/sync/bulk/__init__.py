"""Pull by a bulk export: one job of the server for everything, its files taken in the way that any files are."""
