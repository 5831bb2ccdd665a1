"""Provisioning of a project on AWS: bucket, KMS key, roles, model package group and SageMaker Project.

There are two CloudFormation stacks, since one is not enough: a SageMaker Project is created from a template in S3, and
the first run has no bucket to upload it to. So ``foundation.yaml`` (bucket, key and roles) is sent in the request
itself. ``project.yaml`` is uploaded to that bucket; the Project is created from it with a role of the foundation that
may only manage the model package group. Deleting the Project leaves the data in the bucket.
"""
