"""Who touches the environment, the wall clock and `step`, found over the syntax tree."""

import ast
from collections.abc import Callable

ENVIRONMENT = frozenset({"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"})
CLOCK = frozenset({("time", "time"), ("time", "time_ns")})
WITHOUT_A_TIME = frozenset({"asctime", "ctime", "gmtime", "localtime"})
"""Functions of `time` that read the clock when called without one."""

CLOCK_METHODS = frozenset({"now", "utcnow", "today"})
DATES = frozenset({"date", "datetime"})


def environment(source: str) -> tuple[int, ...]:
    """The lines that touch the process environment."""
    return _lines(source, _touches_environment)


def clock(source: str) -> tuple[int, ...]:
    """The lines that read the wall clock (a monotonic clock is no wall clock)."""
    return _lines(source, _reads_clock)


def step(source: str) -> tuple[int, ...]:
    """The lines that call or import `step`."""
    return _lines(source, _takes_step)


def _lines(source: str, wrong: Callable[[ast.AST], bool]) -> tuple[int, ...]:
    return tuple(sorted(getattr(node, "lineno", 0) for node in ast.walk(ast.parse(source)) if wrong(node)))


def _touches_environment(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(value=ast.Name(id="os" | "posix"), attr=name):
            return name in ENVIRONMENT
        case ast.ImportFrom(module="os" | "posix", names=names):
            return any(it.name in ENVIRONMENT for it in names)
        case _:
            return False


def _reads_clock(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="time"), attr=name), args=[]):
            return name in WITHOUT_A_TIME
        case ast.Attribute(value=ast.Name(id=module), attr=name) if (module, name) in CLOCK:
            return True
        case ast.ImportFrom(module=str(module), names=names) if any(
            (module, it.name) in CLOCK for it in names
        ):
            return True
        case ast.Attribute(value=ast.Name(id=kind) | ast.Attribute(attr=kind), attr=name) if kind in DATES:
            return name in CLOCK_METHODS
        case _:
            return False


def _takes_step(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Name(id="step") | ast.Attribute(attr="step")):
            return True
        case ast.ImportFrom(module=str(module), names=names) if module.startswith("loom_core"):
            return any(it.name == "step" for it in names)
        case _:
            return False
