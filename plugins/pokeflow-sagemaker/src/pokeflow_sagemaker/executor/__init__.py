"""Executor ``sagemaker``: runs a task as a training or processing job that shares only the bucket with this machine.

Keys in the bucket:

jobs/code/<hash>/                code.tar.gz (this program), requirements.txt, and the entry point of the container
jobs/<digest>/<run>/<hash>/      task.json: the task, for any machine; telemetry/: the command and configuration
jobs/output/                     output that SageMaker itself writes for a job
work/<task>/<run>/               checkpoints, which SageMaker synchronizes with /opt/ml/checkpoints

``<run>`` identifies the production of one record: the task, its inputs' contents, and the record that it replaces, if
the task is forced.
"""
