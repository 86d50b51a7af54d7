"""Reading files of any size for what is asked of them: the same functions in one process, in several, on a cluster."""
