"""The project on AWS: its bucket, key, roles, the group of its models and the SageMaker Project, made and kept.

Two stacks of CloudFormation, since one cannot be: a SageMaker Project is made from a template that lies in S3, and the
first run has no bucket to put it in. So ``foundation.yaml`` is made directly (its text travels in the request): bucket,
key and roles. ``project.yaml`` is put into that bucket; the Project is made from it by a role of the foundation's that
may do nothing but keep the models' group. Deleting the Project leaves the data where it is.
"""
