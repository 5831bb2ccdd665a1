"""Parts of the stage ``profile``: time and memory of a training step, and checks of its tensors."""
