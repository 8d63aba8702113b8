"""What code of the core may not do, found over its syntax tree.

An allow-list of imports: what is not known to compute only is refused, wherever the import stands.
"""

import ast
from collections.abc import Iterator

THIRD_PARTY = frozenset({"attrs", "brotli", "msgspec", "zstandard"})
STDLIB = frozenset(
    {
        "base64",
        "binascii",
        "bisect",
        "collections",
        "enum",
        "functools",
        "hashlib",
        "heapq",
        "itertools",
        "math",
        "operator",
        "re",
        "string",
        "struct",
        "types",
        "typing",
        "unicodedata",
        "urllib.parse",
        "zlib",
    }
)
SINGLE_NAMES = frozenset(
    {
        ("datetime", "UTC"),
        ("datetime", "timedelta"),
        ("datetime", "timezone"),
        ("email.utils", "parsedate_to_datetime"),
    }
)
"""Names that compute, out of modules that can also read the clock."""

FORBIDDEN_NAMES = frozenset(
    {
        "__import__",
        "breakpoint",
        "compile",
        "eval",
        "exec",
        "globals",
        "hash",  # differs by PYTHONHASHSEED
        "id",  # differs by machine and run
        "input",
        "locals",
        "open",
        "print",
    }
)
FORBIDDEN_ATTRIBUTES = frozenset({"file_digest", "open", "open_new", "__import__", "__builtins__"})


def faults(source: str) -> tuple[str, ...]:
    """`line: what` for each thing in the source that the core may not do."""
    found = {
        (line, what)
        for node in ast.walk(ast.parse(source))
        for line, what in ((getattr(node, "lineno", 0), what) for what in _wrong(node))
    }
    return tuple(f"{line}: {what}" for line, what in sorted(found))


def _wrong(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (f"imports {it.name}" for it in names if not _module_allowed(it.name))
        case ast.ImportFrom(level=level) if level > 0:
            yield "relative import: say the whole name"
        case ast.ImportFrom(module=str(module), names=names) if not _module_allowed(module):
            refused = (it.name for it in names if (module, it.name) not in SINGLE_NAMES)
            yield from (
                f"imports {it} from {module}" for it in refused if not _module_allowed(f"{module}.{it}")
            )
        case ast.Name(id=name, ctx=ast.Load()) if name in FORBIDDEN_NAMES:
            yield f"uses {name}"
        case ast.Attribute(attr=name) if name in FORBIDDEN_ATTRIBUTES:
            yield f"uses .{name}"
        case ast.Global(names=names) | ast.Nonlocal(names=names):
            yield f"rebinds {', '.join(names)} outside the function"
        case ast.AsyncFunctionDef() | ast.AsyncFor() | ast.AsyncWith() | ast.Await():
            yield "async"
        case ast.comprehension(is_async=1):
            yield "async"


def _module_allowed(module: str) -> bool:
    top = module.partition(".")[0]
    return top == "loom_core" or top in THIRD_PARTY or module in STDLIB or module == "collections.abc"
