"""One pass in reading order: pull, compute, push. The mappings are handed in, never imported."""
