"""CloudWatch alarm on an endpoint's server errors (5XX) that rolls back an update."""

from pokeflow_sagemaker import aws

SHARE = 0.05
"""Highest share of a minute's requests that may fail with a server error."""


def name_of(endpoint: str) -> str:
    """Return the name of an endpoint's alarm."""
    return f"{endpoint}-errors"


def ensure(region: str, endpoint: str, variant: str) -> str:
    """Create the alarm unless it exists, and return its name; an existing alarm keeps people's changes."""
    cloudwatch, name = aws.client("cloudwatch", region), name_of(endpoint)
    resource = f"alarm {name}"
    if aws.ask(cloudwatch.describe_alarms, resource, AlarmNames=[name]).get("MetricAlarms"):
        return name
    aws.ask(
        cloudwatch.put_metric_alarm,
        resource,
        AlarmName=name,
        AlarmDescription=f"pokeflow: server errors of endpoint {endpoint}; rolls back an update if it goes off",
        Namespace="AWS/SageMaker",
        MetricName="Invocation5XXErrors",
        Dimensions=[{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}],
        Statistic="Average",
        Period=60,
        EvaluationPeriods=1,
        Threshold=SHARE,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
    )
    return name


def remove(region: str, endpoint: str) -> bool:
    """Delete the alarm and return whether it existed."""
    cloudwatch, name = aws.client("cloudwatch", region), name_of(endpoint)
    resource = f"alarm {name}"
    if not aws.ask(cloudwatch.describe_alarms, resource, AlarmNames=[name]).get("MetricAlarms"):
        return False
    aws.ask(cloudwatch.delete_alarms, resource, AlarmNames=[name])
    return True
