"""Serving of a bundle: by a local server, a SageMaker endpoint, or a batch transform job."""
