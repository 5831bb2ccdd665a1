"""Which stages make a model."""

MAKING = ("train", "distill", "compile")
"""Their runs belong to the model's own experiment, where like is compared with like; their models are parents."""
TRAINING = ("train", "distill")
"""Of these the arrays are embeddings; elsewhere an array may hold pictures."""
