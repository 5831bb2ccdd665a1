import numpy as np

from pokeflow_cards.random_streams import Purpose, generator


def test_generator_is_reproducible() -> None:
    a, b = (generator(7, "base1-1", Purpose.QUERY, 2).random(5) for _ in range(2))
    assert (a == b).all()


def test_streams_differ_by_seed_card_purpose_and_view() -> None:
    streams = [
        generator(7, "base1-1", Purpose.QUERY, 0),
        generator(8, "base1-1", Purpose.QUERY, 0),
        generator(7, "base1-2", Purpose.QUERY, 0),
        generator(7, "base1-1", Purpose.CALIBRATION, 0),
        generator(7, "base1-1", Purpose.QUERY, 1),
    ]
    numbers = np.concatenate([stream.integers(0, 2**63, 2000) for stream in streams])
    # Overlapping streams, even with an offset, would share numbers.
    assert len(np.unique(numbers)) == len(numbers)
