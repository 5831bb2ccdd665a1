"""Stage ``profile``: what a step of a model's training takes, on what, and whether its tensors are sound."""
