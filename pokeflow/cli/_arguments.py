"""The words of a command: its own arguments, and the overrides among them."""

import argparse
import itertools
from collections.abc import Sequence

CONFIG_DIR = ("--config-dir", "-cd")


def asked(parser: argparse.ArgumentParser, args: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """A command's arguments, and the overrides: ``KEY=VALUE`` and ``--config-dir DIR``, wherever they stand.

    A path or a text that holds a ``=`` itself is an option's value when it is written ``--option=VALUE``, or when
    the option says that it takes one: ``metavar="KEY=VALUE"``.
    """
    options = parser._option_string_actions  # no public way tells an option's metavar
    pairs = {flag for flag, option in options.items() if "=" in str(option.metavar or "")}
    own, overrides = [], []
    words = iter(args)
    for word in words:
        if word in pairs:
            own += [word, *itertools.islice(words, 1)]
        elif word in CONFIG_DIR:
            overrides += [word, next(words, "")]
        elif word.startswith(("~", *(f"{flag}=" for flag in CONFIG_DIR))) or _is_override(word):
            overrides.append(word)
        else:
            own.append(word)
    return parser.parse_args(own), overrides


def _is_override(word: str) -> bool:
    """Whether a word sets a value: an option does not, and an address may hold a ``=`` itself."""
    key, sign, _ = word.partition("=")
    return bool(sign) and not word.startswith("-") and "://" not in key
