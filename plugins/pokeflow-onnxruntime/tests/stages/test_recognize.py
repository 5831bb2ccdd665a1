"""Test stage recognize with ONNX Runtime; refusals are tested with the stage itself."""

import json

import pytest
from PIL import Image

from pokeflow_vision.recognition import RecognizeParams


@pytest.fixture
def recognize(flow, backends, tmp_path):
    """Benchmark the student, then recognize a picture in its gallery."""
    student = flow.student()
    benchmark = flow.benchmark(student, flow.prepared())
    backends["benchmark"](benchmark)

    def run(image, top=5):
        task = flow.task("recognize", RecognizeParams(str(image), top), student, flow.done(benchmark, "student"))
        result = backends["recognize"](task)
        return json.loads((task.output / "matches.json").read_text()), result

    return run


@pytest.fixture
def picture(tmp_path, make_data):
    file = tmp_path / "card.png"
    Image.fromarray(make_data().references[37]).save(file)
    return file


def test_exact_reference_is_the_first_match(recognize, picture, make_data):
    answer, result = recognize(picture)
    assert answer["matches"][0] == {
        "card_id": "set-37", "name": "Pikachü 37", "set": "set", "number": "37", "score": pytest.approx(1, abs=1e-5)
    }  # fmt: skip
    scores = [match["score"] for match in answer["matches"]]
    assert len(scores) == 5
    assert scores == sorted(scores, reverse=True)
    assert answer["preprocessing"] == result.facts["preprocessing"] == make_data().preprocessing.hash
    assert answer["seconds"] > 0
    assert result.metrics["score"] == scores[0]


def test_resized_jpeg_matches_its_card(recognize, tmp_path, make_data):
    file = tmp_path / "card.jpg"
    Image.fromarray(make_data().references[12]).resize((240, 330)).save(file, quality=90)
    assert recognize(file)[0]["matches"][0]["card_id"] == "set-12"
