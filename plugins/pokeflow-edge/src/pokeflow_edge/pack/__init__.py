"""Stage ``package``: a compiled model, its gallery and the code that answers from both, as one archive."""
