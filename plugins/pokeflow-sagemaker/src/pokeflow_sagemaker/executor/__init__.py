"""The executor ``sagemaker``: a task as a training or processing job that shares only the bucket with this machine.

jobs/code/<hash>/                what the container runs: this program, what to install for it, and how to begin
jobs/<digest>/<making>/<hash>/   task.json: the task, as any machine can read it; telemetry/: how it came to be made
jobs/output/                     what SageMaker itself leaves of a job
work/<task>/<making>/            checkpoints, as SageMaker keeps them in step with /opt/ml/checkpoints

A making is what one record comes of: the task, its inputs' contents, and the record that it replaces, if it is forced.
"""
