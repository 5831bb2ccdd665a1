"""Fixtures that the stages' tests share with those of the compiler."""

from ..compile.conftest import backend, done, flow, interpreter  # noqa: F401 - fixtures
