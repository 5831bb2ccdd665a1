"""The executor ``sagemaker``: a task as a training or processing job that shares only the bucket with this machine.

jobs/code/<hash>/       what the container runs: this program, what to install for it, and how to begin
jobs/<digest>/<hash>/   task.json: the task, as any machine can read it
jobs/output/            what SageMaker itself leaves of a job
work/<task>/            checkpoints, as SageMaker keeps them in step with /opt/ml/checkpoints
"""
