"""Read pages: blocks of commands, refused formats, and the comparison of output with the page."""

from pathlib import Path

import pytest

from pokeflow_testkit.pages import Block, Command, missing, normalize, pokeflow_words, read_page

PAGE = """\
<!-- test: setup finished cards -->
# A page

```console
$ pokeflow plan \\
    data=folder
…
run  prepare:data  folder
$ ls
store
```

<!-- test: exit 2 -->
```console
$ pokeflow plan data.crads=1
```

1. A step:

    <!-- test: cloud, exit 3 -->
    ```console
    $ pokeflow store=s3
    ```

<!-- test: parse, needs a device, and hours -->
```console
$ pokeflow target=hailo8l
```

```yaml title="conf/experiment/mine.yaml"
models: [a]
```

```bash
$ not a command of the page
```
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    file = tmp_path / "page.md"
    file.write_text(PAGE)
    return file


def test_a_page_is_its_setup_and_its_blocks_in_order(page: Path) -> None:
    read = read_page(page)
    assert read.setup == ("finished", "cards")
    plan = Command("pokeflow plan \\\n    data=folder", ("…", "run  prepare:data  folder"))
    assert read.blocks == (
        Block(4, commands=(plan, Command("ls", ("store",)))),
        Block(14, exit_code=2, commands=(Command("pokeflow plan data.crads=1"),)),
        Block(21, "cloud", exit_code=3, commands=(Command("pokeflow store=s3"),)),
        Block(26, "parse", "needs a device, and hours", commands=(Command("pokeflow target=hailo8l"),)),
        Block(30, file="conf/experiment/mine.yaml", content="models: [a]\n"),
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("<!-- test: setup kitchen -->\n", "no setup kitchen"),
        ("<!-- test: sometimes -->\n```console\n$ ls\n```\n", "no test comment 'sometimes'"),
        ("<!-- test: skip -->\n```console\n$ ls\n```\n", "'skip' needs a reason"),
        ("<!-- test: exit 1 -->\n```sh\nls\n```\n", "above a block that is not console"),
        ("```console\nstore\n```\n", "begins with a command"),
    ],
)
def test_unknown_format_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "page.md").write_text(text)
    with pytest.raises(ValueError, match=fault):
        read_page(tmp_path / "page.md")


@pytest.mark.parametrize(
    ("command", "calls"),
    [
        ("pokeflow plan 'stages=[train]'  # why", [["plan", "stages=[train]"]]),
        ("cd my && POKEFLOW_STORE=x .venv/bin/pokeflow ls | head", [["ls"]]),
        ("pokeflow -q 2>&1 >log; pokeflow publish", [["-q"], ["publish"]]),
        ("pip install pokeflow", []),
        ("aws s3 ls s3://pokeflow", []),
    ],
)
def test_calls_of_pokeflow_are_extracted_from_shell_lines(command: str, calls: list[list[str]]) -> None:
    assert list(pokeflow_words(command)) == calls


PRINTED = """\
     task          backend    digest            time
run  prepare:data  synthetic  fc34d9fbf2722fd7  about 12 s
1 to run (about 12 s, not billed), 0 reused.
"""


@pytest.mark.parametrize(
    "line",
    [
        "run  prepare:data    synthetic  0868562a6250c8b3  about 5 s",
        "run  prepare:data …",
        "18 to run (…, not billed), 3 reused.",
        "…",
    ],
)
def test_digests_numbers_and_widths_may_differ(line: str) -> None:
    assert missing((line,), PRINTED) == []


@pytest.mark.parametrize("line", ["reuse  prepare:data", "run  train:data …", "18 to run (…, billed), 3 reused."])
def test_other_words_are_missed(line: str) -> None:
    assert missing((line,), PRINTED) == [line]


def test_a_drawing_is_compared_by_its_words() -> None:
    assert normalize("│ top-1 93.8%  p50 3.88 ms │") == normalize("│ top-1 7%  p50 – ms     │")
