from pokeflow_torch import model


def test_unknown_metric_has_a_reason():
    assert model.reasons({"artwork_top1_accuracy": None, "loss": 1.0}) == {
        "artwork_top1_accuracy": "the data set does not say which cards share their artwork"
    }
