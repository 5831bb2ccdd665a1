import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pokeflow_cards.params import FolderParams, Photos, Queries, SyntheticParams
from pokeflow_vision import dataset, photos, preprocessing
from pokeflow_vision.preprocessing import Preprocessing

METRICS = {
    "cards",
    "train_cards",
    "val_cards",
    "test_cards",
    "exact_duplicates",
    "near_duplicates",
    "unreadable",
    "label_clashes",
    "phash256_top1_accuracy",
    "phash256_top5_accuracy",
    "phash256_artwork_top1_accuracy",
}
DECK = SyntheticParams(
    cards=30, twins=0.2, queries=Queries(views=2, calibration=6), preprocessing=Preprocessing(size=64)
)


def content(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def test_synthetic_deck_becomes_a_data_set(prepare) -> None:
    output, result = prepare(DECK)
    data = dataset.read(output)
    assert data.preprocessing == DECK.preprocessing
    assert (len(data.cards), len(data.queries)) == (30, 2 * 4 + 2 * 2 + 6)
    assert data.references.shape == (30, 96, 69, 3)
    assert data.query_images.shape == (18, 96, 69, 3)
    assert data.about["counts"] == {
        "cards": 30,
        "splits": {"train": 24, "val": 4, "test": 2},
        "queries": {"val": 8, "test": 4, "calibration": 6},
    }
    assert data.about["seed"] == 0
    assert data.about["queries"] == "simulated phone captures, strength 1.0"
    assert len({card.artwork for card in data.cards}) == 24
    assert set(result.metrics) == METRICS
    assert all(isinstance(value, float) for value in result.metrics.values())
    assert result.facts["protocol"].startswith("4 query views (simulated phone captures, strength 1.0) of 2 test cards")
    assert result.facts["preprocessing"] == preprocessing.read(output).hash


def test_output_has_the_documented_files_and_work_is_empty(prepare) -> None:
    output, _ = prepare(DECK)
    assert set(content(output)) == {
        "dataset.json",
        "preprocessing.json",
        "cards.csv",
        "queries.csv",
        "references.npy",
        "queries.npy",
        "validation.json",
        "samples.jpg",
    }
    assert list((output.parent / "work").iterdir()) == []


def test_same_parameters_give_identical_bytes(prepare, folder) -> None:
    for params in (DECK, folder.params()):
        (first, figures), (second, again) = prepare(params), prepare(params)
        assert content(first) == content(second)
        assert figures == again


def test_clean_queries_are_all_recognized(prepare, folder) -> None:
    output, result = prepare(folder.params(queries=Queries(views=1, calibration=0, strength=0.0)))
    assert result.metrics["phash256_top1_accuracy"] == 1.0
    assert dataset.read(output).about["queries"] == "the clean references themselves"


def test_no_image_is_both_reference_and_query(prepare, folder) -> None:
    data = dataset.read(prepare(folder.params())[0])
    row_of = {card.card_id: row for row, card in enumerate(data.cards)}
    for query, image in zip(data.queries, data.query_images, strict=True):
        assert (image != data.references[row_of[query.card_id]]).any()


def test_calibration_views_are_of_train_cards(prepare, folder) -> None:
    data = dataset.read(prepare(folder.params())[0])
    split_of = {card.card_id: card.split for card in data.cards}
    assert {split_of[data.queries[j].card_id] for j in data.queries_of("calibration")} == {"train"}


def test_folder_faults_are_counted_and_listed(prepare, folder, make_picture) -> None:
    folder.add("copy", "Name 1", seed=1)
    folder.add("other", "Somebody else", seed=2)
    picture = make_picture(3)
    picture.putpixel((30, 40), (0, 0, 0))
    near = folder.add("near", "Name 3")
    picture.save(near, quality=95)
    folder.add("broken", "Broken").write_bytes(b"no image")
    folder.rows.append({**folder.rows[0], "name": "Twice"})
    folder.write()
    output, result = prepare(folder.params())
    figures = {name: result.metrics[name] for name in ("cards", "unreadable", "exact_duplicates", "label_clashes")}
    assert figures == {"cards": 27, "unreadable": 1, "exact_duplicates": 2, "label_clashes": 3}
    report = json.loads((output / "validation.json").read_text())
    assert report["counts"]["near_duplicates"] == result.metrics["near_duplicates"] == 1
    assert report["near_duplicates"][0]["cards"] == ["s-3", "near"]
    artwork = {card.card_id: card.artwork for card in dataset.read(output).cards}
    assert artwork["s-1"] == artwork["copy"] == "copy"
    assert artwork["s-3"] == artwork["near"] == "near"
    assert artwork["s-4"] == "s-4"
    assert result.facts["validation"] == (
        "1 cards left out, 2 exact duplicates, 1 pairs of near duplicates, 3 label clashes"
    )


def test_artwork_column_takes_precedence(prepare, folder) -> None:
    folder.columns = (*folder.columns, "artwork")
    for i, row in enumerate(folder.rows):
        row["artwork"] = f"art-{i // 2}"
    folder.write()
    output, result = prepare(folder.params())
    assert dataset.read(output).cards[5].artwork == "art-2"
    assert result.metrics["phash256_artwork_top1_accuracy"] is not None


def test_gaps_in_the_artwork_column_make_its_accuracy_unknown(prepare, folder) -> None:
    folder.columns = (*folder.columns, "artwork")
    folder.rows[0]["artwork"] = "art"
    folder.write()
    _, result = prepare(folder.params())
    assert result.metrics["phash256_artwork_top1_accuracy"] is None
    assert "23 cards" in result.reasons["phash256_artwork_top1_accuracy"]


def test_result_does_not_contain_the_folders_path(prepare, folder) -> None:
    output, result = prepare(folder.params())
    texts = [file.read_text() for file in output.iterdir() if file.suffix in {".json", ".csv"}]
    facts = {name: fact for name, fact in result.facts.items() if name != "raw"}
    assert not any(str(folder.root) in text for text in [*texts, json.dumps(facts)])


def test_record_describes_the_raw_files_by_the_configured_path(prepare, folder, monkeypatch) -> None:
    folder.add("broken", "Broken").write_bytes(b"no image")
    folder.write()
    monkeypatch.setenv("HOME", str(folder.root.parent))
    _, result = prepare(replace(folder.params(), root="~/scans"))
    raw = result.facts["raw"]
    read = [folder.root / "cards.csv", *(folder.root / "images").glob("s-*.jpg")]
    assert raw == {
        "path": "~/scans",
        "fingerprint": result.facts["source"]["sha256"],
        "files": 25,
        "size_bytes": sum(file.stat().st_size for file in read),
    }
    assert "raw" not in result.reasons


def test_synthetic_deck_has_no_raw_files_but_a_reason(prepare) -> None:
    _, result = prepare(DECK)
    assert result.facts["raw"] is None
    assert result.reasons["raw"] == "the cards are drawn; nothing is read"


def test_no_test_card_shares_its_art_with_a_train_card(prepare, folder) -> None:
    output, drawn = prepare(replace(DECK, cards=60, twins=0.5))
    assert drawn.facts["shared_artwork"] == 0
    assert (drawn.facts["data_kind"], drawn.facts["query_kind"]) == ("synthetic", "simulated")
    assert "; 0 of the cards share their art with a train card" in drawn.facts["protocol"]
    cards = dataset.read(output).cards
    arts = {split: {card.artwork for card in cards if card.split == split} for split in ("train", "val", "test")}
    assert not arts["train"] & arts["test"]
    assert not arts["train"] & arts["val"]
    assert not arts["val"] & arts["test"]
    _, scans = prepare(replace(folder.params(), queries=Queries(views=1, strength=0.0, calibration=0)))
    assert (scans.facts["data_kind"], scans.facts["query_kind"]) == ("photos", "references")


def test_photos_are_taken_of_test_cards_and_of_val_cards(prepare, folder) -> None:
    output, _ = prepare(replace(DECK, photos=Photos(cards=2, conditions=("loose", "hard"))))
    rows = photos.read_list(output)
    assert Counter((row.split, row.condition) for row in rows) == {
        ("val", "mixed"): 2, ("val", "empty"): 1, ("test", "loose"): 2, ("test", "hard"): 2, ("test", "empty"): 1,
    }  # fmt: skip
    assert all(data.startswith(b"\xff\xd8") for data in photos.read(output, rows))
    scans, _ = prepare(replace(folder.params(), photos=Photos(cards=1, conditions=("loose",))))
    assert len(photos.read_list(scans)) == 4


def test_record_counts_cards_views_and_calibration(prepare) -> None:
    output, result = prepare(DECK)
    assert result.facts["counts"] == dataset.read(output).about["counts"]
    assert result.facts["calibration"] == {"samples": 6, "size_bytes": 6 * 96 * 69 * 3}
    _, none = prepare(replace(DECK, queries=replace(DECK.queries, calibration=0)))
    assert none.facts["calibration"] == {"samples": 0, "size_bytes": 0}


def test_second_attempt_after_a_kill_succeeds(prepare, folder, tmp_path, monkeypatch) -> None:
    from pokeflow_cards import samples

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(samples, "write", kill)
        with pytest.raises(KeyboardInterrupt):
            prepare(folder.params())
    output, _ = prepare(folder.params())
    assert len(dataset.read(output).cards) == 24


@pytest.mark.slow
def test_baseline_is_between_chance_and_perfect_on_real_cards(prepare, real_cards) -> None:
    params = FolderParams(
        str(real_cards), limit=300, queries=Queries(views=4, calibration=0), preprocessing=Preprocessing(size=96)
    )
    output, result = prepare(params)
    assert result.metrics["cards"] == 300
    assert 0.2 < result.metrics["phash256_top1_accuracy"] < 0.9
    assert np.asarray(dataset.read(output).references).std() > 30


@pytest.mark.slow
def test_all_real_cards_are_read_with_near_duplicates(prepare, real_cards) -> None:
    _, result = prepare(FolderParams(str(real_cards), preprocessing=Preprocessing(size=96)))
    assert result.metrics["cards"] == 1407
    assert result.metrics["exact_duplicates"] == result.metrics["unreadable"] == 0
    assert result.metrics["near_duplicates"] > 100
