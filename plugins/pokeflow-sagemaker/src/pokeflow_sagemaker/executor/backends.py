"""The executor, as the plugin brings it."""

from pokeflow import Backend, Bill, Executor, Record, Task
from pokeflow_sagemaker.executor.params import JobParams, check


def _run(task: Task, backend: Backend, params: JobParams) -> None:
    from pokeflow_sagemaker.executor import run

    run.run(task, backend, params)


def _price(params: JobParams, seconds: float) -> float | None:
    from pokeflow_sagemaker.executor import bill

    return bill.price(params, seconds)


def _bill(record: Record, params: JobParams) -> Bill | None:
    from pokeflow_sagemaker.executor import bill

    return bill.bill(record, params)


def _limit(params: JobParams) -> float:
    return float(params.time_limit_seconds)


EXECUTOR = Executor("sagemaker", _run, JobParams, price=_price, limit=_limit, check=check, remote=True, bill=_bill)
