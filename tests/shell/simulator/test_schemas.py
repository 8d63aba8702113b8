import pytest

from loom_shell.simulator.schemas import fill, read_json


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "loom"),
        ({"type": "integer"}, 1),
        ({"type": "number", "minimum": 3.5}, 3.5),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": ["string", "null"]}, "loom"),
        ({"type": []}, "loom"),
        ({"type": "array", "items": {"type": "integer"}}, []),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [1, 1]),
        ({"enum": ["a", "b"]}, "a"),
        ({"const": 4}, 4),
        ({"type": "string", "default": "x"}, "x"),
        ({"anyOf": [{"type": "boolean"}, {"type": "string"}]}, True),
        ({"type": "object"}, {}),
        ("no schema", ""),
    ],
)
def test_a_value_fits_its_schema(schema: object, value: object) -> None:
    assert fill(schema) == value


def test_an_object_has_what_is_required_and_no_more() -> None:
    schema = {
        "type": "object",
        "properties": {"path": {"type": "string"}, "limit": {"type": "integer"}, "deep": {"type": "boolean"}},
        "required": ["path", "limit", "unheard of", 7],
    }
    assert fill(schema) == {"path": "loom", "limit": 1, "unheard of": ""}


def test_properties_without_a_type_make_an_object() -> None:
    assert fill({"properties": {"a": {"type": "boolean"}}, "required": ["a"]}) == {"a": True}


def test_a_schema_without_end_is_followed_to_a_depth() -> None:
    schema: dict[str, object] = {"type": "object", "required": ["next"]}
    schema["properties"] = {"next": schema}
    value, depth = fill(schema), 0
    while isinstance(value, dict):
        value, depth = value["next"], depth + 1
    assert (value, depth) == ("", 8)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b'["\\ud800"]', ["\ud800"]),
        (b"1" + b"0" * 400, 10**400),
        (b"", None),
        (b"{", None),
        (b"\xff", None),
        (b"[" * 200_000, None),
    ],
    ids=["object", "lone surrogate", "huge number", "empty", "cut", "not UTF-8", "deep"],
)
def test_json_of_any_kind_is_read_or_none(body: bytes, value: object) -> None:
    assert read_json(body) == value
