"""Batch transforms on the test cloud: one job per set of images and model, one response per image."""

import dataclasses
import json

import pytest

from pokeflow import ConfigError, PokeflowError
from pokeflow_sagemaker.aws import QuotaError, waiting
from pokeflow_sagemaker.serving import pictures, transform

from ..bundle.test_inference import jpeg, png
from ..conftest import small_data
from ..serving_flow import MODEL, PROJECT, forwarded


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(waiting, "FIRST_INTERVAL", 0.05)
    monkeypatch.setattr(waiting, "MAX_INTERVAL", 0.1)


@dataclasses.dataclass
class Batch:
    """Pictures in a bucket; while a job runs, its container is the bundle's own server."""

    deployed: object
    silent: bool = False

    @property
    def s3(self):
        return self.deployed.cloud.aws("s3")

    @property
    def source(self):
        return f"{self.deployed.cloud.uri}/pictures"

    @property
    def destination(self):
        return f"{self.deployed.cloud.uri}/store/jobs/answers/"

    def put(self, name, body):
        self.s3.put_object(Bucket=self.deployed.cloud.name, Key=f"pictures/{name}", Body=body)
        self.deployed.cloud.forget()

    def run(self, **params):
        locations = {"source": self.source, "destination": self.destination}
        return self.deployed.transform(**{**locations, **params})

    def works(self, request):
        """Process a job as SageMaker does: send every object except folder markers to the container."""
        bucket = self.deployed.cloud.name
        prefix = request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"].removeprefix(f"s3://{bucket}/")
        output = request["TransformOutput"]["S3OutputPath"].removeprefix(f"s3://{bucket}/").rstrip("/")
        headers = {"Content-Type": request["TransformInput"]["ContentType"], "Accept": "application/json"}
        for row in self.s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]:
            if row["Key"].endswith("/"):
                continue
            body = self.s3.get_object(Bucket=bucket, Key=row["Key"])["Body"].read()
            status, answer = forwarded(self.deployed.port, body, headers)
            assert status == 200
            self.s3.put_object(Bucket=bucket, Key=f"{output}/{row['Key'].removeprefix(prefix)}.out", Body=answer)

    def answers(self):
        bucket = self.deployed.cloud.name
        rows = self.s3.list_objects_v2(Bucket=bucket, Prefix="store/jobs/answers/").get("Contents", ())
        return {r["Key"].rpartition("answers/")[2]: self.s3.get_object(Bucket=bucket, Key=r["Key"]) for r in rows}


@pytest.fixture
def batch(deployed, monkeypatch):
    deployed.cloud.trouble(becoming=0.1)
    new, start = Batch(deployed), transform._start

    def started(*args):
        start(*args)
        if not new.silent:
            new.works(deployed.cloud.calls("CreateTransformJob")[-1]["request"])

    monkeypatch.setattr(transform, "_start", started)
    references = small_data().references
    new.put("a/5.png", png(references[5]))
    new.put("a/6.PNG", png(references[6]))
    new.put("7.jpg", jpeg(references[7], quality=95))
    new.put("empty/", b"")
    return new


def jobs(batch):
    return batch.deployed.cloud.calls("CreateTransformJob")


@pytest.mark.slow
def test_every_image_has_its_own_response_object(batch):
    facts = batch.run()
    assert facts["pictures"] == 3
    assert facts["changed"] == "created"
    assert facts["seconds"] >= 0
    assert facts["cost_usd"] == pytest.approx(0.23 * facts["seconds"] / 3600)
    first = {
        name: json.loads(response["Body"].read())["matches"][0]["card_id"] for name, response in batch.answers().items()
    }
    assert first == {"a/5.png.out": "set-5", "a/6.PNG.out": "set-6", "7.jpg.out": "set-7"}


def test_job_request_fits_the_bundles_limits(batch):
    batch.run(at_once=100)
    request = jobs(batch)[0]["request"]
    assert request["MaxPayloadInMB"] == 1
    assert request["MaxConcurrentTransforms"] == 100
    assert request["BatchStrategy"] == "SingleRecord"
    assert request["TransformInput"]["ContentType"] == "image/jpeg"
    assert request["TransformOutput"]["Accept"] == "application/json"
    assert request["TransformJobName"].startswith(f"{PROJECT}-{MODEL}-")
    assert len(request["TransformJobName"]) <= 63
    wide = dataclasses.replace(batch.deployed.record, params={**batch.deployed.record.params, "max_bytes": 40_000_000})
    batch.put("8.png", png(small_data().references[8]))
    batch.run(record=wide, at_once=100)
    request = jobs(batch)[0]["request"]
    assert (request["MaxPayloadInMB"], request["MaxConcurrentTransforms"]) == (40, 2)


def test_repeated_transform_starts_no_job(batch):
    first = batch.run()
    batch.deployed.cloud.forget()
    second = batch.run()
    assert batch.deployed.cloud.mutating() == {}
    assert second == {**first, "changed": "nothing"}


def test_another_image_or_model_starts_another_job(batch):
    names = {batch.run()["job"]}
    batch.put("8.png", png(small_data().references[8]))
    names.add(batch.run()["job"])
    other = dataclasses.replace(batch.deployed.record, digest="f" * 16)
    batch.deployed.shares(other)
    names.add(batch.run(record=other)["job"])
    assert len(names) == 3


def test_running_job_is_awaited_and_not_started_twice(batch, monkeypatch):
    batch.deployed.cloud.trouble(becoming=3600.0)
    with monkeypatch.context() as patched:
        patched.setattr(waiting, "until_settled", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            batch.run()
    batch.deployed.cloud.settle()
    assert batch.run()["changed"] == "nothing"
    assert len(jobs(batch)) == 1


def _interrupted(look, key, moving, *_, **__):
    description = look()
    if description and description[key] in moving:
        raise KeyboardInterrupt
    return description


def test_failed_job_is_reported_and_retried_as_another_job(batch):
    name = batch.run()["job"]
    batch.put("8.png", png(small_data().references[8]))
    batch.deployed.cloud.trouble(becoming=0.1, capacity=("ml.m5.xlarge",))
    with pytest.raises(PokeflowError, match=r"Failed\. AWS says: CapacityError.*/aws/sagemaker/TransformJobs"):
        batch.run()
    batch.deployed.cloud.trouble(becoming=0.1)
    again = batch.run()
    assert again["job"].endswith("-2")
    assert again["changed"] == "created"
    assert name not in again["job"]


def test_completed_job_with_missing_responses_fails(batch):
    batch.silent = True
    with pytest.raises(PokeflowError, match=r"completed, but these images have no response: 5\.png, 6\.PNG, 7\.jpg"):
        batch.run()


def test_deleted_responses_are_created_again(batch):
    batch.run()
    batch.s3.delete_object(Bucket=batch.deployed.cloud.name, Key="store/jobs/answers/7.jpg.out")
    facts = batch.run()
    assert facts["job"].endswith("-2")
    assert "7.jpg.out" in batch.answers()


@pytest.mark.slow
@pytest.mark.parametrize("lost", [True, False])
def test_lost_response_starts_no_second_job(batch, lost):
    batch.deployed.cloud.trouble(
        becoming=0.1, **{"lost" if lost else "throttling": 1.0}, only=("CreateTransformJob",), times=1
    )
    batch.run()
    assert batch.deployed.cloud.mutating()["CreateTransformJob"] == 1


@pytest.mark.slow
def test_unsuitable_objects_are_reported_before_the_job(batch):
    for i in range(7):
        batch.put(f"notes-{i}.txt", b"text")
    batch.put("large.jpg", b"x" * 400_001)
    batch.put("none.jpg", b"")
    with pytest.raises(ConfigError) as error:
        batch.run()
    messages = [str(fault) for fault in error.value.faults]
    assert len(messages) == 3
    assert "'pictures/notes-4.txt' and 2 more: not images (.jpg, .jpeg, .png)" in messages[0]
    assert "'pictures/large.jpg': larger than the bundle's limit of 400,000 bytes" in messages[1]
    assert "'pictures/none.jpg': empty" in messages[2]
    assert batch.deployed.cloud.mutating() == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("locations", "said"),
    [
        ({"source": "s3://{bucket}/nothing"}, "there are no objects below this prefix"),
        ({"source": ""}, "source: is missing: pokeflow transform s3://"),
        ({"destination": ""}, "destination: is missing"),
        ({"destination": "s3://{bucket}/pictures/answers"}, "responses would be read as images"),
    ],
)
def test_invalid_locations_are_reported(batch, locations, said):
    params = {name: location.format(bucket=batch.deployed.cloud.name) for name, location in locations.items()}
    with pytest.raises(ConfigError, match=said):
        batch.run(**params)
    assert batch.deployed.cloud.mutating() == {}


def test_missing_bucket_is_reported(batch):
    with pytest.raises(PokeflowError, match=r"s3://no-such-bucket-here/x/: does not exist"):
        batch.run(source="s3://no-such-bucket-here/x")


def test_exceeded_quota_is_reported(batch):
    batch.deployed.cloud.trouble(limited=("ml.m5.xlarge",))
    with pytest.raises(QuotaError, match="Service Quotas"):
        batch.run()


def test_images_are_listed_across_pages(batch, monkeypatch):
    monkeypatch.setattr(pictures, "PAGE_SIZE", 2)
    assert len(pictures.list_pictures(batch.deployed.cloud.region, f"{batch.source}/", 400_000)) == 3
