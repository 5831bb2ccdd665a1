"""The test cloud over HTTP: ``python -m pokeflow_testkit.cloud.server [--port 0]``, with ``tests`` on the path.

S3 is the double of ``s3_double``; SageMaker is this package; of IAM, STS, KMS, CloudWatch, its logs and CloudFormation
moto answers the requests that pass the services' own models.
"""

import argparse
import dataclasses
import json
import time
import traceback
from typing import Any

from pokeflow_testkit import s3_moto
from pokeflow_testkit.s3_double import Answer, Double
from pokeflow_testkit.s3_rules import Request, S3Error

from . import access, endpoints, formation, jobs, lineage, pipelines, projects, registry, rows, stacks  # noqa: F401 - they register
from .answers import Call, error_code
from .faults import Dice, Happened, Trouble
from .state import ACCOUNT, OPERATIONS, AwsError, Row, State
from .validation import complaint, filter_members, input_shape, model, violations

CONTROL = "/_control/"
MOTO = ("sts", "iam", "kms", "logs", "cloudformation", "cloudwatch", "secretsmanager", "ecr")
"""Services that moto answers, after validation by their models."""
MUTATING_S3 = ("CopyObject", "CompleteMultipartUpload", "CreateBucket", "DeleteBucket", "DeleteObject", "PutObject")


class Cloud(Double):
    """The double of S3 with the rest of AWS around it."""

    def __init__(self) -> None:
        self.endpoint = ""
        self.states: dict[str, State] = {}
        self.trouble = Trouble()
        super().__init__()
        formation.teach(self)

    def reset(self) -> None:
        """Remove everything, and kill running jobs."""
        from moto.core.base_backend import BackendDict

        for state in self.states.values():
            state.gone = True
            jobs.kill_all(state)
        super().reset()
        with self.moto:
            BackendDict.reset()
        self.states, self.happened = {}, Happened()
        self.set_trouble(Trouble())

    def set_trouble(self, trouble: Trouble) -> None:
        """Set the faults, and restart the random draws."""
        self.trouble, self.aws_dice = trouble, Dice(trouble)
        for state in self.states.values():
            state.dice = self.aws_dice

    def state(self, region: str) -> State:
        """Return SageMaker's state in a region."""
        with self.moto:
            if region not in self.states:
                self.states[region] = State(region, self.moto, self.endpoint, self.aws_dice)
            return self.states[region]

    def answer(self, environ: dict[str, Any], body: bytes) -> Answer:
        """Answer a client's request."""
        self.endpoint = self.endpoint or f"http://{environ['HTTP_HOST']}"
        if environ["PATH_INFO"].startswith(CONTROL):
            return self._handle_control(environ["PATH_INFO"].removeprefix(CONTROL), environ["REQUEST_METHOD"], body)
        call = Call(environ, body)
        if call.service in ("", "s3"):
            return super().answer(environ, body)
        if self.trouble.latency:
            time.sleep(self.trouble.latency)
        answer = self._call(call)
        about = {"service": call.service, "operation": call.operation, "region": call.region, "by": call.who}
        code = error_code(answer, call.json)
        with self.lock:
            self.happened.calls.append({**about, "status": answer.status, "code": code, "request": call.request})
        return answer

    def _apply(self, request: Request) -> Answer:
        if self.trouble.expired:
            raise S3Error(400, "ExpiredToken", "The provided token has expired.")
        return super()._apply(request)

    def _call(self, call: Call) -> Answer:
        with self.lock:
            fault = self.aws_dice.draw(call.operation)
        try:
            self._raise_fault(call, fault)
            answer = self._dispatch(call)
        except AwsError as error:
            answer = call.error_answer(error)
        except Exception:  # noqa: BLE001 – an error of the cloud is reported by an answer that clients do not retry
            answer = call.error_answer(AwsError("TheCloudIsBroken", traceback.format_exc()))
        return dataclasses.replace(answer, arrives=0.0) if fault == "lost" else answer

    def _raise_fault(self, call: Call, fault: str | None) -> None:
        if self.trouble.expired:
            raise AwsError("ExpiredTokenException", "The security token included in the request is expired")
        if call.operation in self.trouble.denied:
            action = f"{call.service}:{call.operation}"
            raise AwsError(
                "AccessDeniedException",
                f"User: arn:aws:iam::{ACCOUNT}:user/test is not authorized to perform: {action} "
                f"because no identity-based policy allows the {action} action",
            )
        if fault == "throttling":
            raise AwsError("ThrottlingException", "Rate exceeded")
        if fault == "internal":
            raise AwsError("InternalFailure", "The request processing has failed because of an unknown error.", 500)

    def _dispatch(self, call: Call) -> Answer:
        unknown = f"{call.service}:{call.operation} is not known to the test cloud: add it to pokeflow_testkit/cloud"
        if call.service != "sagemaker" and call.service not in MOTO:
            raise AwsError("NotInTheTestCloud", unknown)
        if not call.cbor:
            self._check(call, unknown)
        if call.operation in access.ANSWERS and call.service == "iam":
            with self.moto:
                return access.ANSWERS[call.operation](call.request)
        if call.service != "sagemaker":
            with self.moto:
                if call.service == "cloudformation":
                    stacks.check(call.request, call.operation, self.state(call.region))
                request = Request(call.environ, "POST", call.operation, "", "", {}, call.body)
                return self._moto(request)
        if call.operation not in OPERATIONS:
            raise AwsError("NotInTheTestCloud", unknown)
        with self.moto:
            result = OPERATIONS[call.operation](self.state(call.region), call.request)
            output = model("sagemaker").operation_model(call.operation).output_shape
            return call.said(filter_members(output, result) or {})

    def _check(self, call: Call, unknown: str) -> None:
        if call.operation not in model(call.service).operation_names:
            raise AwsError("NotInTheTestCloud", unknown)
        shape = input_shape(call.service, call.operation)
        if shape is None:
            return
        if call.json:
            broken = list(violations(shape, call.request))
        else:  # moto parsed the form by the same model, which drops unknown members
            broken = list(violations(shape, call.request, loose=True))
        if broken:
            raise AwsError("ValidationException", complaint(broken))

    def _handle_control(self, path: str, method: str, body: bytes) -> Answer:
        said = json.loads(body) if body else {}
        try:
            result = self._control_of(path, method, said)
        except (AttributeError, KeyError, TypeError, ValueError, AwsError) as error:
            return Answer(400, [], f"{path}: {error}".encode())
        return Answer(200, [("Content-Type", "application/json")], json.dumps(result).encode())

    def _control_of(self, path: str, method: str, said: Row) -> Any:
        if path.startswith("credentials/"):
            return jobs.credentials(path.removeprefix("credentials/"))
        return getattr(self, f"_do_{path}_{method.lower()}")(said)

    def _do_trouble_post(self, said: Row) -> Row:
        self.set_trouble(Trouble(**{k: tuple(v) if isinstance(v, list) else v for k, v in said.items()}))
        return {}

    def _do_calls_get(self, said: Row) -> list[Row]:
        with self.lock:
            return list(self.happened.calls)

    def _do_calls_delete(self, said: Row) -> Row:
        with self.lock:
            self.happened, self.counts.log = Happened(), []
        return {}

    def _do_mutating_get(self, said: Row) -> Row:
        with self.lock:
            counts = self.happened.mutating()
            for operation, _, status in self.counts.log:
                if 0 < status < 400 and (operation in MUTATING_S3 or operation.startswith(("PUT ?", "DELETE ?"))):
                    counts[operation] += 1
            return dict(counts)

    def _do_settle_post(self, said: Row) -> Row:
        with self.moto:
            for state in self.states.values():
                state.settle()
        return {}

    def _do_interrupt_post(self, said: Row) -> Row:
        jobs.interrupt(self.state(said["region"]), said["job"])
        return {}

    def _do_vanish_post(self, said: Row) -> Row:
        from moto.s3.models import s3_backends

        with self.moto:
            s3_backends[ACCOUNT]["aws"].buckets.pop(said["bucket"])
            s3_backends.bucket_accounts.pop(said["bucket"], None)
        return {}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    s3_moto.serve(parser.parse_args().port, Cloud())
