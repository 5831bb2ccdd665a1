"""Instructions to download and run a version, with as much code as its records allow."""

from collections.abc import Iterator, Mapping

from pokeflow.project import Version
from pokeflow_metadata.facts import facts_of

FETCH = "pokeflow pull {model}:{version}"
CODE = """\
import onnxruntime
from pokeflow_vision.preprocessing import Preprocessing, load_image, normalize, to_square

spec = Preprocessing(size={size}, mean={mean}, std={std})
session = onnxruntime.InferenceSession("model.onnx")  # the .onnx file of this version, whatever it is called
picture = normalize(to_square([load_image("photo.jpg")], spec), spec)
(embedding,) = session.run(["embedding"], {{"image": picture}})  # 1 × {length}, not scaled to length 1"""


def describe_loading(version: Version) -> Iterator[str]:
    """Yield Markdown lines with the command that downloads a version and code that runs it.

    The code requires an ONNX file and the preprocessing of the data set; else the format is named, if it is known.
    """
    yield from ("```", FETCH.format(model=version.model, version=version.version), "```")
    code = _code(version)
    if code is not None:
        yield from ("", "```python", code, "```")
    elif format_ := facts_of(version.producer).format:
        yield from ("", f"Its format is {format_}.")


def _code(version: Version) -> str | None:
    producer, prepared = version.producer, version.records.get("prepare")
    length = facts_of(producer).embedding_dim
    spec = prepared.params.get("preprocessing") if prepared else None
    if not _is_onnx(version) or not isinstance(spec, Mapping) or not {"size", "mean", "std"} <= set(spec):
        return None
    mean, std = (tuple(spec[name]) for name in ("mean", "std"))
    return CODE.format(size=spec["size"], mean=mean, std=std, length=length)


def _is_onnx(version: Version) -> bool:
    files = [file.path for file in version.producer.files]
    return any(path.endswith(".onnx") for path in files)
