"""What a check ends in, where it does not pass: a broken rule of the contract, or nothing to check."""


class Breach(AssertionError):  # noqa: N818 - what it tells is no mishap but a finding
    """A rule of the contract that a target does not keep: the rule, what was found instead, and what to do."""

    def __init__(self, rule: str, found: str, mend: str) -> None:
        self.rule = rule
        super().__init__(f"the contract: {rule}\n  found:      {found}\n  what to do: {mend}")


class NotChecked(Exception):  # noqa: N818 - no error: the sentence says why there is nothing to check
    """A check that has nothing to look at here, with the reason."""
