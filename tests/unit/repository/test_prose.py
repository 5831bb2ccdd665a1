"""Check the checker of prose: it applies Vale's rules to pages, docstrings and messages, but not to code."""

from pathlib import Path

import pytest

from tests import prose

SUBSTITUTION = """
extends: substitution
message: "Say '%s' instead of '%s'."
ignorecase: true
swap:
  'tells? of': describes
"""
EXISTENCE = """
extends: existence
message: "'%s' says nothing."
tokens:
  - simply
"""
LENGTH = """
extends: occurrence
message: "Too long."
scope: sentence
max: 6
token: '\\b(\\w+)\\b'
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for folder in ("pokeflow", "docs", "styles"):
        (tmp_path / folder).mkdir()
    for name, text in (("Words", SUBSTITUTION), ("Filler", EXISTENCE), ("Length", LENGTH)):
        (tmp_path / "styles" / f"{name}.yml").write_text(text)
    return tmp_path


def faults(tree: Path) -> list[str]:
    return list(prose.faults(tree, prose.rules(tree / "styles")))


def test_bad_word_of_a_page_is_reported_with_a_better_one(tree: Path) -> None:
    (tree / "docs/page.md").write_text("# A page\n\nThe record tells of a run.\n")
    assert faults(tree) == ["docs/page.md:3: Say 'describes' instead of 'tells of'. [Words]"]


@pytest.mark.parametrize(
    "code",
    [
        'def f():\n    """Simply return.\n\n    It simply returns.\n    """\n',
        "x = 1  # simply because\n",
        'raise ValueError(f"{x} simply cannot be read here")\n',
    ],
)
def test_docstrings_comments_and_messages_are_read(tree: Path, code: str) -> None:
    (tree / "pokeflow/module.py").write_text(code)
    assert [fault.rpartition(" ")[2] for fault in faults(tree)] == ["[Filler]"]
    assert all(fault.startswith("pokeflow/module.py:") for fault in faults(tree))


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("conf/data/cards.yaml", "root: ???  # simply a folder\n"),
        ("plugins/pokeflow-odd/src/pokeflow_odd/conf/target/odd.yaml", "# simply a target\n"),
        ("Makefile", "# simply runs all tests\ntest:\n"),
        ("pokeflow/cli/skeleton/odd/README.md.txt", "It is simply a plugin.\n"),
        ("pokeflow/cli/skeleton/odd/params.py.txt", '"""These are simply parameters."""\n'),
        ("pokeflow/cli/skeleton/odd/conf/odd.yaml.txt", "a: 1  # simply one\n"),
        ("pokeflow/forms.py", 'name: str = describe_field("simply")\n'),
    ],
)
def test_comments_skeletons_and_descriptions_are_read(tree: Path, file: str, text: str) -> None:
    (tree / file).parent.mkdir(parents=True, exist_ok=True)
    (tree / file).write_text(text)
    assert [fault.partition(": ")[0] for fault in faults(tree)] == [f"{file}:1"]


def test_values_of_configuration_are_spared(tree: Path) -> None:
    (tree / "conf").mkdir()
    (tree / "conf/config.yaml").write_text("simply: 'simply#simply'\n")
    assert faults(tree) == []


@pytest.mark.parametrize(
    "page",
    [
        "Run `simply` now.\n",
        "```console\n$ simply tells of\n```\n",
        "<!-- simply a comment -->\n",
        "[a page](simply.md)\n",
        "One two three. Four five six. Seven.\n",
    ],
)
def test_code_links_and_comments_of_a_page_are_spared(tree: Path, page: str) -> None:
    (tree / "docs/page.md").write_text(page)
    assert faults(tree) == []


def test_a_long_sentence_is_reported_where_it_begins(tree: Path) -> None:
    (tree / "docs/page.md").write_text("Short.\n\nOne two three four\nfive six seven eight.\n")
    assert [fault.partition(": ")[0] for fault in faults(tree)] == ["docs/page.md:3"]


def test_names_in_quotes_keys_and_short_strings_are_spared(tree: Path) -> None:
    (tree / "pokeflow/module.py").write_text(
        "a = \"no executor 'simply' is known here\"\nb = \"set it with executor=simply or leave it\"\nc = 'simply'\n"
    )
    assert faults(tree) == []


def test_unknown_kind_of_rule_is_an_error(tree: Path) -> None:
    (tree / "styles/Odd.yml").write_text("extends: script\nmessage: odd\n")
    with pytest.raises(ValueError, match="script"):
        prose.rules(tree / "styles")


@pytest.mark.slow
def test_the_pages_and_sources_keep_the_style() -> None:
    assert list(prose.faults()) == []
