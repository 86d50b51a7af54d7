"""The tables of the paper, one module each; how they are shown is not theirs to know."""
