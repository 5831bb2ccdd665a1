import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pokeflow import PokeflowError
from pokeflow_cards import catalog
from pokeflow_cards.params import FolderParams

PARAMS = FolderParams("root")
HEADER = "card_id,name,set,number\n"


def read(text: str | bytes, **values) -> catalog.Catalog:
    content = text if isinstance(text, bytes) else text.encode()
    return catalog.read(content, FolderParams("root", **values))


def test_columns_are_read_by_name_and_extra_ones_ignored() -> None:
    (card,) = read("number,rarity,name,set,card_id\n4,Rare,Charizard,base1,base1-4\n").cards
    assert (card.card_id, card.name, card.set, card.number, card.artwork) == ("base1-4", "Charizard", "base1", "4", "")


def test_utf8_is_read_with_or_without_bom() -> None:
    (card,) = read(b"\xef\xbb\xbf" + f'{HEADER}a,"Pokédex, the",s,1\r\n'.encode()).cards
    assert card.name == "Pokédex, the"


def test_artwork_column_is_optional() -> None:
    listed = read("card_id,name,set,number,artwork\na,A,s,1,art-7\n")
    assert listed.has_artwork
    assert listed.cards[0].artwork == "art-7"
    assert not read(f"{HEADER}a,A,s,1\n").has_artwork


def test_repeated_card_id_is_reported_and_its_first_row_kept() -> None:
    listed = read(f"{HEADER}a,A,s,1\nb,B,s,2\na,C,s,3\n")
    assert [card.name for card in listed.cards] == ["A", "B"]
    (repeat,) = listed.repeats
    assert (repeat.card_id, repeat.line, repeat.name, repeat.first_name) == ("a", 4, "C", "A")


def test_limit_samples_cards_by_seed_in_order() -> None:
    text = HEADER + "".join(f"c{i},n,s,{i}\n" for i in range(100))
    ids = [card.card_id for card in read(text, limit=30).cards]
    assert len(ids) == 30
    assert ids == sorted(ids, key=lambda card_id: int(card_id[1:]))
    assert ids != [card.card_id for card in read(text, limit=30, seed=1).cards]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no column 'card_id'"),
        (b"cardid,name,set,number\n", "Did you mean 'cardid'?"),
        (b"card_id,name,name,set,number\n", "two columns are named 'name'"),
        (f"{HEADER}a,A,s,1\nb,Caf\xe9,s,2\n".encode("latin-1"), "line 3 is not UTF-8"),
        (f"{HEADER}a,A\0,s,1\n".encode(), "line 2 contains a NUL byte"),
        (f"{HEADER}a,{'x' * 200_000},s,1\n".encode(), "field larger than field limit"),
        (f'{HEADER}a,"A,s,1\nb,B,s,2\n'.encode(), "unexpected end of data"),
        (f"{HEADER}a,A,s,1\nb,Oak, the,s,2\n".encode(), "line 3 has 5 fields, the header has 4"),
        (f"{HEADER},A,s,1\n".encode(), "line 2 has no card_id"),
        (f"{HEADER}../../etc/passwd,A,s,1\n".encode(), "cannot be part of a file name"),
        (f"{HEADER}/etc/passwd,A,s,1\n".encode(), "cannot be part of a file name"),
        (f"{HEADER}..,A,s,1\n".encode(), "cannot be part of a file name"),
        (f"{HEADER}C:x,A,s,1\n".encode(), "cannot be part of a file name"),
        (f"{HEADER}..\\x,A,s,1\n".encode(), "cannot be part of a file name"),
        (f"{HEADER}{'x' * 300},A,s,1\n".encode(), "cannot be part of a file name"),
    ],
)
def test_invalid_csv_is_refused_with_its_line(content, says) -> None:
    with pytest.raises(PokeflowError) as caught:
        read(content)
    assert says in str(caught.value)
    assert str(caught.value).startswith("cards.csv: ")


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: (HEADER + text).encode("utf-8", "replace")))
def test_any_bytes_are_read_or_refused(content) -> None:
    try:
        cards = catalog.read(content, PARAMS).cards
    except PokeflowError:
        return
    ids = [card.card_id for card in cards]
    assert len(set(ids)) == len(ids)
    assert not any(catalog.outside(card_id) for card_id in ids)


def resolve(root: Path, card_id: str, images: str = "images/{card_id}.jpg") -> tuple[Path | None, str]:
    card = catalog.Card(card_id, "n", "s", "1", "", "")
    ((_, _, file, reason),) = catalog.image_paths(FolderParams(str(root), images=images), [card])
    return file, reason


def test_image_path_is_below_the_root(folder) -> None:
    assert resolve(folder.root, "s-1") == (folder.root.resolve() / "images" / "s-1.jpg", "")
    assert resolve(folder.root, "absent") == (None, "no such file")


def test_root_may_be_a_link(folder, tmp_path) -> None:
    (tmp_path / "link").symlink_to(folder.root)
    file, _ = resolve(tmp_path / "link", "s-1")
    assert file == folder.root.resolve() / "images" / "s-1.jpg"


def test_links_are_followed_only_within_the_root(folder, tmp_path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "s-1.jpg").write_bytes(b"secret")
    images = folder.root / "images"
    (images / "in.jpg").symlink_to(images / "s-1.jpg")
    (images / "out.jpg").symlink_to(tmp_path / "secret.jpg")
    (images / "loop.jpg").symlink_to(images / "loop.jpg")
    (folder.root / "folder").symlink_to(tmp_path / "elsewhere")
    assert resolve(folder.root, "in") == (images.resolve() / "s-1.jpg", "")
    assert resolve(folder.root, "out") == (None, "is a link that leaves the root")
    assert resolve(folder.root, "s-1", "folder/{card_id}.jpg") == (None, "is a link that leaves the root")
    assert resolve(folder.root, "s-1", "../scans/images/{card_id}.jpg") == (None, "is not below the root")
    assert resolve(folder.root, "loop")[0] is None


def test_image_that_is_not_a_regular_file_is_refused(folder) -> None:
    os.mkfifo(folder.root / "images" / "pipe.jpg")
    (folder.root / "images" / "dir.jpg").mkdir()
    assert resolve(folder.root, "pipe") == (None, "is not a file")
    assert resolve(folder.root, "dir") == (None, "is not a file")


@pytest.mark.parametrize("path", ["/a", "../a", "a/../../b", "C:/a", "C:a", "\\a", "a\\..\\b"])
def test_paths_that_leave_a_folder_are_detected(path) -> None:
    assert catalog.outside(path)


@pytest.mark.parametrize("path", ["a", "a/b.jpg", "a..b/c", "...jpg"])
def test_paths_within_a_folder_are_accepted(path) -> None:
    assert not catalog.outside(path)
