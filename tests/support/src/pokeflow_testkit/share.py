"""``pytest --share K/N``: of the slow tests run one share of N, chosen by file, and all of the quick ones.

Continuous integration counts K up with every commit, so that N pushes run every slow test once and a break shows
soon. Files stay whole, because their tests share what is expensive to set up.
"""

import zlib

import pytest

SLOW, LONG = "slow", "long"
"""Markers of tests that take seconds, and of those that take minutes; these are divided into three times N shares."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option ``--share``."""
    help_ = "run all quick tests and, of those marked slow or long, the files of share K of N, such as 2/5"
    parser.addoption("--share", metavar="K/N", type=_share, default=None, help=help_)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the slow tests of other shares."""
    if config.option.share is None:
        return
    share, shares = config.option.share
    selected = [item for item in items if _is_selected(item, share, shares)]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(selected)])
    items[:] = selected


def _is_selected(item: pytest.Item, share: int, shares: int) -> bool:
    if item.get_closest_marker(LONG):
        shares *= 3
    elif not item.get_closest_marker(SLOW):
        return True
    return zlib.crc32(item.nodeid.partition("::")[0].encode()) % shares == share % shares


def _share(text: str) -> tuple[int, int]:
    share, _, shares = text.partition("/")
    if not (share.isdecimal() and shares.isdecimal() and int(shares)):
        raise pytest.UsageError(f"--share {text}: expected K/N, such as 2/5")
    return int(share), int(shares)
