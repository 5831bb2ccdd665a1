"""Exceptions of a check that does not pass: a broken rule of the contract, or nothing to check."""


class ContractViolationError(AssertionError):
    """Violation of the contract by a target: the rule, the observation and the remedy."""

    def __init__(self, rule: str, observation: str, remedy: str) -> None:
        self.rule = rule
        super().__init__(f"the contract: {rule}\n  found:      {observation}\n  what to do: {remedy}")


class NotApplicableError(Exception):
    """Signal that a check does not apply here, with the reason."""
