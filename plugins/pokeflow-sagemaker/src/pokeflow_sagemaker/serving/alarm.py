"""The alarm that undoes an update: the endpoint's own errors, as CloudWatch counts them."""

from pokeflow_sagemaker import aws

SHARE = 0.05
"""Of the requests in a minute that may be answered with an error of the server's."""


def name_of(endpoint: str) -> str:
    """Return the name of an endpoint's alarm."""
    return f"{endpoint}-errors"


def ensure(region: str, endpoint: str, variant: str) -> str:
    """The alarm's name; it is made unless it is there, and what people changed of it is kept."""
    cloudwatch, name = aws.client("cloudwatch", region), name_of(endpoint)
    what = f"alarm {name}"
    if aws.ask(cloudwatch.describe_alarms, what, AlarmNames=[name]).get("MetricAlarms"):
        return name
    aws.ask(
        cloudwatch.put_metric_alarm,
        what,
        AlarmName=name,
        AlarmDescription=f"pokeflow: errors of endpoint {endpoint}; an update during which it goes off is undone",
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
    """Delete the alarm; False where there was none."""
    cloudwatch, name = aws.client("cloudwatch", region), name_of(endpoint)
    what = f"alarm {name}"
    if not aws.ask(cloudwatch.describe_alarms, what, AlarmNames=[name]).get("MetricAlarms"):
        return False
    aws.ask(cloudwatch.delete_alarms, what, AlarmNames=[name])
    return True
