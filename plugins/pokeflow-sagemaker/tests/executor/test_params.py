"""A job's parameters are checked before anything runs, and all faults are reported at once."""

import pytest

from pokeflow import ConfigError
from pokeflow_sagemaker.executor.params import Account, Client, Container, JobParams, VpcConfig, check

from ..jobs_flow import Launcher


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"instance_type": "g5.xlarge"}, "instance_type"),
        ({"instance_count": 0}, "instance_count"),
        ({"volume_gb": 20_000}, "volume_gb"),
        ({"time_limit_seconds": 5}, "time_limit_seconds"),
        ({"spot_wait_seconds": -1}, "spot_wait_seconds"),
        ({"container": Container(processes=65)}, "container.processes"),
        ({"client": Client(at_once=0)}, "client.at_once"),
        ({"client": Client(poll_seconds=0)}, "client.poll_seconds"),
        ({"network": VpcConfig((), ("sg-1",))}, "network"),
        ({"account": Account(role="job")}, "account.role"),
        ({"prices": {"ml.m5.large": -1.0}}, "prices.ml.m5.large"),
        ({"profiler": {}}, "profiler"),
    ],
)
def test_fault_is_reported_at_its_key(params, path):
    assert [key for key, _ in check(JobParams(**params))] == [path]


def test_the_defaults_have_no_faults():
    assert list(check(JobParams())) == []


def test_faults_are_reported_together_with_suggestions(cloud, tmp_path):
    machine = Launcher(cloud, tmp_path)
    with pytest.raises(ConfigError) as error:
        machine.flow("executor.params.instance_type=g5", "executor.params.volume_gb=0")
    assert [fault.path for fault in error.value.faults] == [
        "executor.params.instance_type",
        "executor.params.volume_gb",
    ]
    with pytest.raises(ConfigError, match="Did you mean 'volume_gb'"):
        machine.flow("+executor.params.volume_bg=1")
    on = "{name: sagemaker, params: {client: {at_once: 0}}}"
    with pytest.raises(
        ConfigError, match=r"lineage\.models\.teacher\.executor\.params\.client\.at_once: 0 would let no job start"
    ):
        machine.flow(f"+lineage.models.teacher.executor={on}")


def test_removed_profiler_parameter_is_refused_with_a_reason(cloud, tmp_path):
    machine = Launcher(cloud, tmp_path)
    with pytest.raises(
        ConfigError, match=r"params\.profiler: SageMaker's Debugger .* ends on 2027-06-30\. Remove profiler"
    ):
        machine.flow("+executor.params.profiler={system_ms: 1000, tensors: false}")
    assert machine.flow("+executor.params.profiler=null").steps


def test_jobs_need_a_bucket(cloud, tmp_path):
    with pytest.raises(ConfigError, match=r"runs remotely and needs a shared store\. Set store=s3"):
        Launcher(cloud, tmp_path).flow("store.remote=null")
