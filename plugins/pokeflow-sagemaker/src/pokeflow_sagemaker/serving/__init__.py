"""Serving a bundle: a server on this machine, an endpoint of SageMaker's, a batch transform job."""
