"""The arms of a machine's `step`, and the same machine with another result in one of them."""

import ast
import inspect
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

from loom_core.actions import Note

Change = Callable[[str, Any], Any]


def arms(machine: ModuleType) -> list[str]:
    """What stands behind each `case`, in order."""
    return [_name(case) for case in _match(_step(machine)).cases]


def changed(machine: ModuleType, change: Change) -> Callable[..., Any]:
    """`step` of the machine; `change` makes the result of each arm, by its name and what it was."""
    step = _step(machine)
    for case in _match(step).cases:
        wrapped = _Wrapped(_name(case))
        case.body = [wrapped.visit(statement) for statement in case.body]
    tree = ast.fix_missing_locations(ast.Module([step], []))
    names = {**vars(machine), "_change": change}
    exec(compile(tree, f"<{machine.__name__}>", "exec"), names)  # noqa: S102 - the machine's own source
    return names["step"]  # type: ignore[no-any-return]


def noted(arm: str, passed: list[str]) -> Change:
    """One more action where that arm is passed."""

    def change(name: str, found: Any) -> Any:  # noqa: ANN401
        if name != arm:
            return found
        passed.append(name)
        state, actions = found
        return state, (*actions, Note("changed"))

    return change


class _Wrapped(ast.NodeTransformer):
    def __init__(self, name: str) -> None:
        self._name = name

    def visit_Return(self, node: ast.Return) -> ast.Return:
        assert node.value is not None
        call = ast.Call(ast.Name("_change", ast.Load()), [ast.Constant(self._name), node.value], [])
        return ast.Return(call)


@cache
def _source(machine: ModuleType) -> str:
    return inspect.getsource(machine.step)


def _step(machine: ModuleType) -> ast.FunctionDef:
    (step,) = ast.parse(_source(machine)).body
    assert isinstance(step, ast.FunctionDef)
    return step


def _match(step: ast.FunctionDef) -> ast.Match:
    return next(it for it in step.body if isinstance(it, ast.Match))


def _name(case: ast.match_case) -> str:
    guard = f" if {ast.unparse(case.guard)}" if case.guard else ""
    return f"{ast.unparse(case.pattern)}{guard}"
