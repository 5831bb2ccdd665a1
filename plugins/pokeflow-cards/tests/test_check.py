import pytest

from pokeflow_cards import check
from pokeflow_cards.params import FolderParams, Photos, Queries, SyntheticParams
from pokeflow_testkit.support import require_linear
from pokeflow_vision.preprocessing import Preprocessing


def test_valid_folder_and_synthetic_defaults_have_no_faults(folder) -> None:
    assert list(check.check_folder(folder.params())) == []
    assert list(check.check_synthetic(SyntheticParams())) == []


def one(faults) -> tuple[str, str]:
    ((key, message),) = faults
    return key, message


@pytest.mark.parametrize(
    ("values", "key", "says"),
    [
        ({"cards": 19}, "cards", "below 20"),
        ({"twins": 0.6}, "twins", "0 to 0.5"),
        ({"twins": float("nan")}, "twins", "0 to 0.5"),
        ({"seed": -1}, "seed", "-1"),
        ({"queries": Queries(views=0)}, "queries.views", "0 is not"),
        ({"queries": Queries(calibration=-1)}, "queries.calibration", "-1"),
        ({"queries": Queries(strength=float("inf"))}, "queries.strength", "inf"),
        ({"queries": Queries(strength=-0.1)}, "queries.strength", "-0.1"),
        ({"photos": Photos(cards=-1)}, "photos.cards", "-1 is below 0"),
        ({"photos": Photos(conditions=("lose",))}, "photos.conditions", "Did you mean 'loose'"),
        ({"photos": Photos(conditions=("loose", "loose"))}, "photos.conditions", "twice"),
        ({"preprocessing": Preprocessing(size=0)}, "preprocessing.size", "16 to 1024"),
        ({"preprocessing": Preprocessing(std=(0.0, 1.0, 1.0))}, "preprocessing.std", "above 0"),
        ({"preprocessing": Preprocessing(mean=(float("nan"), 1.0, 1.0))}, "preprocessing.mean", "numbers"),
    ],
)
def test_values_out_of_range_are_reported(values, key, says) -> None:
    name, message = one(check.check_synthetic(SyntheticParams(**values)))
    assert name == key
    assert says in message


def test_missing_root_is_reported_with_its_path(tmp_path) -> None:
    key, message = one(check.check_folder(FolderParams(str(tmp_path / "nowhere"))))
    assert key == "root"
    assert message.startswith(f"no such folder: {tmp_path / 'nowhere'}")


def test_root_that_is_a_file_is_a_fault(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    key, message = one(check.check_folder(FolderParams(str(tmp_path / "file"))))
    assert key == "root"
    assert message.startswith("not a folder")


def test_missing_csv_is_a_fault(folder) -> None:
    key, message = one(check.check_folder(folder.params(csv="list.csv")))
    assert key == "csv"
    assert "list.csv: no such file" in message


def test_missing_columns_suggest_the_nearest_names(folder) -> None:
    (folder.root / "cards.csv").write_text("card_id,nam,set,nummer\n")
    key, message = one(check.check_folder(folder.params()))
    assert key == "csv"
    assert "Did you mean 'nam'?" in message
    assert "Did you mean 'nummer'?" in message


def test_too_few_cards_are_a_fault(folder) -> None:
    folder.rows = folder.rows[:19]
    folder.write()
    assert one(check.check_folder(folder.params())) == (
        "csv",
        "cards.csv lists 19 different cards; at least 20 are needed",
    )


def test_card_id_that_leaves_the_folder_is_a_fault(folder) -> None:
    folder.rows[3]["card_id"] = "../../secret"
    folder.write()
    key, message = one(check.check_folder(folder.params()))
    assert key == "csv"
    assert "line 5" in message


@pytest.mark.parametrize("csv", ["../cards.csv", "/etc/passwd"])
def test_csv_outside_the_root_is_a_fault(folder, csv) -> None:
    assert one(check.check_folder(folder.params(csv=csv)))[0] == "csv"


def test_csv_link_that_leaves_the_root_is_a_fault(folder, tmp_path) -> None:
    (tmp_path / "other.csv").write_text((folder.root / "cards.csv").read_text())
    (folder.root / "link.csv").symlink_to(tmp_path / "other.csv")
    key, message = one(check.check_folder(folder.params(csv="link.csv")))
    assert key == "csv"
    assert "leaves the root" in message


@pytest.mark.parametrize(
    ("images", "says"),
    [
        ("/data/{card_id}.jpg", "below root"),
        ("../{card_id}.jpg", "below root"),
        ("images/card.jpg", "does not contain {card_id}"),
        ("images/{card_id.__class__}.jpg", "does not contain {card_id}"),
        ("images/{card_id}/{set}.jpg", "only placeholder"),
    ],
)
def test_invalid_images_pattern_is_a_fault(folder, images, says) -> None:
    faults = list(check.check_folder(folder.params(images=images)))
    assert {key for key, _ in faults} == {"images"}
    assert any(says in message for _, message in faults)


@pytest.mark.parametrize(("values", "key"), [({"limit": 5}, "limit"), ({"near_duplicates": -1}, "near_duplicates")])
def test_folder_values_out_of_range_are_faults(folder, values, key) -> None:
    assert one(check.check_folder(folder.params(**values)))[0] == key


def test_all_faults_are_reported_at_once(folder) -> None:
    params = folder.params(csv="no.csv", images="no.jpg", seed=-1)
    assert {key for key, _ in check.check_folder(params)} == {"csv", "images", "seed"}


@pytest.mark.slow
def test_check_time_is_linear_in_the_number_of_cards(folder) -> None:
    rows = [{"card_id": f"s-{i}", "name": f"n{i}", "set": "s", "number": str(i)} for i in range(17_592)]
    for name, part in (("tenth.csv", rows[:1_759]), ("cards.csv", rows)):
        folder.rows = part
        folder.write()
        (folder.root / "cards.csv").rename(folder.root / name)
    tenth, whole = folder.params(csv="tenth.csv"), folder.params()
    assert [*check.check_folder(tenth), *check.check_folder(whole)] == []
    require_linear(lambda: list(check.check_folder(tenth)), lambda: list(check.check_folder(whole)))
