"""Mutation operators: those of Cosmic Ray that change a meaning, and six of our own."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cosmic_ray.plugins
import parso
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator

COMPARISONS = (
    *("Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is"),
    *("Lt_LtE", "Lt_GtE", "LtE_Lt", "LtE_Gt", "Gt_GtE", "Gt_LtE", "GtE_Gt", "GtE_Lt"),
)
"""Each bound moved by one and each comparison inverted; the other replacements are killed with these."""
ARITHMETIC = ("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "FloorDiv_Mul", "Mod_Mul", "BitOr_BitAnd", "BitAnd_BitOr")
CORE = (
    *(f"core/ReplaceComparisonOperator_{pair}" for pair in COMPARISONS),
    *(f"core/ReplaceBinaryOperator_{pair}" for pair in ARITHMETIC),
    *("core/ReplaceUnaryOperator_Delete_Not", "core/ReplaceUnaryOperator_Delete_USub", "core/AddNot"),
    *("core/ReplaceTrueWithFalse", "core/ReplaceFalseWithTrue", "core/ReplaceAndWithOr", "core/ReplaceOrWithAnd"),
    *("core/ReplaceBreakWithContinue", "core/ReplaceContinueWithBreak"),
    *("core/NumberReplacer", "core/RemoveDecorator", "core/ZeroIterationForLoop"),
)
PAIRS = (("min", "max"), ("any", "all"), ("partition", "rpartition"), ("startswith", "endswith"))
OPPOSITE = {name: other for pair in PAIRS for name, other in (pair, pair[::-1])}
SILENT = ("log.info", "log.debug")
"""Calls that are not deleted, as log messages are not part of the tested behaviour."""


def _parse(code: str) -> Any:
    """Return source code as a node that replaces another one."""
    return parso.parse(code)


class _Own(Operator):
    """Operator that replaces one position of a node at a time; ``choices`` yields pairs of a child and its new code."""

    def choices(self, node: Any) -> Iterator[tuple[Any, str]]:
        raise NotImplementedError

    def mutation_positions(self, node: Any) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        for old, _ in self.choices(node):
            yield old.start_pos, old.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        old, code = list(self.choices(node))[index]
        new = _parse(_prefix(old) + code)
        if old is node:
            return new
        owner = old.parent
        owner.children[owner.children.index(old)] = new
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


def _prefix(node: Any) -> str:
    return str(node.get_first_leaf().prefix)


class DeleteStatement(_Own):
    """Replaces by ``pass`` a call, a raise, a deletion, an assertion, or an assignment to an attribute or an item."""

    def choices(self, node: Any) -> Iterator[tuple[Any, str]]:
        if node.type != "simple_stmt":
            return
        statement = node.children[0]
        code = statement.get_code(include_prefix=False)
        target = statement.children[0] if statement.type == "expr_stmt" else None
        is_call = statement.type == "atom_expr" and not code.startswith(SILENT)
        is_jump = statement.type in ("raise_stmt", "del_stmt", "yield_expr") or code == "raise"
        changes_object = target is not None and (
            target.type == "atom_expr" or str(getattr(statement.children[1], "value", "=")) != "="
        )
        if is_call or is_jump or changes_object:
            yield statement, "pass"


class DropOperand(_Own):
    """Replaces ``a and b`` or ``a or b`` by each of its operands left out in turn."""

    def choices(self, node: Any) -> Iterator[tuple[Any, str]]:
        if node.type in ("and_test", "or_test"):
            operands = node.children[::2]
            word = f" {node.children[1].value} "
            for left_out in operands:
                kept = (each.get_code(include_prefix=False) for each in operands if each is not left_out)
                yield node, word.join(kept)


class DropCondition(_Own):
    """Replaces the condition of a comprehension by True."""

    def choices(self, node: Any) -> Iterator[tuple[Any, str]]:
        if node.type == "comp_if":
            yield node.children[1], "True"


class ReplaceException(_Own):
    """Catches an exception that nothing raises instead of each named one."""

    def choices(self, node: Any) -> Iterator[tuple[Any, str]]:
        if node.type == "except_clause":
            caught = node.children[1]
            names = [caught]
            if caught.type == "atom":
                inner = caught.children[1]
                names = inner.children[::2] if inner.type == "testlist_comp" else [inner]
            for name in names:
                yield name, "StopAsyncIteration"


class KeywordToNone(_Own):
    """Passes None instead of the value of a keyword argument."""

    def choices(self, node: Any) -> Iterator[tuple[Any, str]]:
        if node.type == "argument" and node.children[0].type == "name" and node.children[1] == "=":
            value = node.children[2]
            if node.children[0].value == "encoding":
                return  # no effect in the locale of the tests
            if value.get_code(include_prefix=False) not in ("None", "True", "False"):
                yield value, "None"


class SwapFunction(_Own):
    """Calls the opposite of a function or method: ``max`` for ``min``, ``any`` for ``all``, ``removesuffix``, …"""

    def choices(self, node: Any) -> Iterator[tuple[Any, str]]:
        if node.type == "atom_expr":
            for name, call in zip(node.children, node.children[1:], strict=False):
                called = name.children[-1] if name.type == "trailer" else name
                is_call = call.type == "trailer" and call.children[0] == "("
                if called.type == "name" and called.value in OPPOSITE and is_call:
                    yield called, OPPOSITE[called.value]


OWN = {
    operator.__name__: operator
    for operator in (DeleteStatement, DropOperand, DropCondition, ReplaceException, KeywordToNone, SwapFunction)
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """A changed module: the operator's name, the line, the changed lines before and after, and the whole code."""

    operator: str
    line: int
    before: str
    after: str
    code: str


def _is_left_out(node: Any, operator: str) -> bool:
    """Return whether a mutant is left out.

    It is in an annotation or a signature's punctuation, is a number in an f-string, negates a condition that another
    operator inverts, or is in the options of a decorator.
    """
    if operator == "AddNot" and _condition(node).type in ("comparison", "not_test"):
        return True
    while (parent := node.parent) is not None:
        is_annotation = (
            (parent.type == "annassign" and parent.children[1] is node)
            or (parent.type == "tfpdef" and parent.children[2] is node)
            or (parent.type == "funcdef" and parent.annotation is node)
        )
        is_option = parent.type == "decorator"
        is_punctuation = parent.type in ("param", "parameters") and node.type == "operator"
        if is_annotation or is_option or is_punctuation or (parent.type == "fstring" and operator == "NumberReplacer"):
            return True
        node = parent
    return False


def _condition(node: Any) -> Any:
    return node.children[2] if node.type == "test" else node.children[1]


def mutants_of(source: str) -> Iterator[Mutant]:
    """Yield the mutants of a module that compile, each text once, ordered by line."""
    operators = {name.partition("/")[2]: cosmic_ray.plugins.get_operator(name) for name in CORE} | OWN
    tree, mutants = get_ast(source), {}
    for name, operator in operators.items():
        positions = [(node, start) for node in ast_nodes(tree) for start, _ in operator().mutation_positions(node)]
        for occurrence, (node, start) in enumerate(positions):
            if _is_left_out(node, name):
                continue
            code = mutate_code(source, operator(), occurrence)
            if code is not None and code != source and _compiles(code):
                mutants.setdefault(code, Mutant(name, start[0], *_changed_lines(source, code), code))
    yield from sorted(mutants.values(), key=lambda mutant: (mutant.line, mutant.operator, mutant.after))


def _compiles(code: str) -> bool:
    try:
        compile(code, "mutant", "exec")
    except (SyntaxError, ValueError):
        return False
    return True


def _changed_lines(before: str, after: str) -> tuple[str, str]:
    """Return the lines that differ, on one line each."""
    old, new = before.splitlines(), after.splitlines()
    while old and new and old[0] == new[0]:
        old, new = old[1:], new[1:]
    while old and new and old[-1] == new[-1]:
        old, new = old[:-1], new[:-1]
    return " ".join(line.strip() for line in old), " ".join(line.strip() for line in new)
