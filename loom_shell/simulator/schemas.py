"""Reading JSON of any kind, and making values that fit a schema well enough for a client."""

import json
from collections.abc import Mapping

import msgspec

DEPTH = 8
"""Levels followed; below it a value is an empty string."""


def fill(schema: object, depth: int = DEPTH) -> object:
    """A small value of the schema's shape: what is required is filled, the rest is left out."""
    if not isinstance(schema, Mapping) or depth == 0:
        return ""
    if "const" in schema:
        return schema["const"]
    if "default" in schema:
        return schema["default"]
    if isinstance(choices := schema.get("enum"), list) and choices:
        return choices[0]
    for union in ("anyOf", "oneOf", "allOf"):
        if isinstance(forms := schema.get(union), list) and forms:
            return fill(forms[0], depth - 1)
    return _typed(schema, depth)


def _typed(schema: Mapping[str, object], depth: int) -> object:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0] if kind else None
    match kind:
        case "object" | None if "properties" in schema or kind == "object":
            return _filled_object(schema, depth)
        case "array":
            size = schema.get("minItems")
            count = size if isinstance(size, int) else 0
            return [fill(schema.get("items"), depth - 1) for _ in range(min(count, DEPTH))]
        case "integer" | "number":
            least = schema.get("minimum")
            return least if isinstance(least, int | float) else 1
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return "loom"


def _filled_object(schema: Mapping[str, object], depth: int) -> dict[str, object]:
    parts, required = schema.get("properties"), schema.get("required")
    parts = parts if isinstance(parts, Mapping) else {}
    names = required if isinstance(required, list) else []
    return {name: fill(parts.get(name), depth - 1) for name in names if isinstance(name, str)}


def read_json(body: bytes) -> object:
    """A body as JSON; None when it is none. Lone surrogates and huge numbers are read as well."""
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError):
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            return None
