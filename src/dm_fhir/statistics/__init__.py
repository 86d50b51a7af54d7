"""Pure functions over many cases: medians, means, counts with percent."""
