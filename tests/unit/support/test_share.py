"""``--share K/N``: quick tests always run, each file of slow ones in exactly one share."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
FILES = {f"test_{name}.py" for name in "abcdefgh"}
SLOW = "import pytest\n@pytest.mark.slow\ndef test_slow(): ...\ndef test_quick(): ...\n"


def names(pytester: pytest.Pytester, *arguments: str) -> list[str]:
    result = pytester.runpytest_subprocess("--collect-only", "-q", "-p", "no:cacheprovider", *arguments)
    return sorted(line for line in result.outlines if "::" in line)


@pytest.fixture
def files(pytester: pytest.Pytester) -> Path:
    for file in FILES:
        (pytester.path / file).write_text(SLOW)
    (pytester.path / "pytest.ini").write_text("[pytest]\nmarkers =\n    slow\n    long\n")
    return pytester.path


@pytest.mark.slow
@pytest.mark.usefixtures("files")
def test_slow_tests_run_in_one_share_and_quick_ones_in_all(pytester: pytest.Pytester) -> None:
    shares = [names(pytester, "--share", f"{k}/3") for k in range(3)]
    slow = [name for share in shares for name in share if name.endswith("test_slow")]
    assert sorted(slow) == sorted(f"{file}::test_slow" for file in FILES)
    assert all(sum(name.endswith("test_quick") for name in share) == len(FILES) for share in shares)


@pytest.mark.slow
@pytest.mark.usefixtures("files")
def test_a_number_beyond_the_shares_begins_again(pytester: pytest.Pytester) -> None:
    assert names(pytester, "--share", "7/3") == names(pytester, "--share", "1/3")


@pytest.mark.slow
@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("share", ["1", "1/0", "a/b", "-1/3", "²/5"])
def test_invalid_share_is_refused(pytester: pytest.Pytester, share: str) -> None:
    result = pytester.runpytest_subprocess(f"--share={share}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "expected K/N" in "\n".join([*result.errlines, *result.outlines])
