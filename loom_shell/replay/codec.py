"""Values of the core as JSON and back, without loss: a codec for each type, made of its fields.

| value | form |
| --- | --- |
| bytes | a text, each character one byte (latin-1); a long one is `{"blob": address}` |
| text | itself, halves of surrogate pairs in escapes; a long one is `{"blob": address}` |
| a Struct | `{field: form}` without those that are as by default; in a union of them with `"is": class` |
| Enum, tuple, frozenset, mapping | name of the member, list, list, `[[name, value], …]` in its order |
| a Struct that is `SHARED` | `{"blob": address}` of its form |
"""

import json
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache, lru_cache, partial
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin

from attrs import frozen
from msgspec import NODEFAULT, Struct
from msgspec.structs import FieldInfo, astuple, fields

from loom_core.events import Event
from loom_core.rules import Rules
from loom_core.values import ExchangeKey, Key, TranscriptKey, TurnKey

LONG = 512
"""Bytes, or characters, from which on a value lies beside the lines."""
SHARED: tuple[type[Struct], ...] = (Rules,)
"""Large values that are the same with many events."""

Form = Any
"""What JSON can hold."""
Put = Callable[[bytes], str]
"""Keeps bytes and gives their address."""
Get = Callable[[str], bytes]
"""Bytes by their address; raises `KeyError` where there are none."""


class UnreadableError(ValueError):
    """A form that stands for no value of the type."""


@frozen
class Codec:
    """Of one type. `reads` raises `UnreadableError`, or what `Get` raises."""

    writes: Callable[[Any, Put], Form]
    reads: Callable[[Form, Get], Any]


@cache
def codec(of: Any) -> Codec:  # noqa: ANN401 - any annotation of a field
    """The codec for a type, as a field of the core has it."""
    origin, args = get_origin(of), get_args(of)
    if origin is Literal or of in {int, float, bool, NoneType}:
        return Codec(lambda value, _: value, partial(_plain, of=of))
    if of is bytes:
        return Codec(_write_bytes, _read_bytes)
    if of is str:
        return Codec(_write_text, _read_text)
    if origin in {Union, UnionType}:
        return _union(args)
    if origin is tuple and args[1:] == (...,):
        return _items(args[0], tuple)
    if origin is tuple:
        return _fixed(args)
    if origin is frozenset:
        return _items(args[0], frozenset)
    if origin is not None and issubclass(origin, Mapping):
        return _pairs(*args)
    if isinstance(of, type) and issubclass(of, Enum):
        return Codec(lambda value, _: value.name, partial(_member, of))
    if isinstance(of, type) and issubclass(of, Struct):
        return _struct(of)
    if hasattr(of, "__metadata__"):
        return codec(args[0])
    raise TypeError(f"no codec for {of}")


def text_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _plain(form: Form, _: Get, *, of: Any) -> Any:  # noqa: ANN401
    if get_origin(of) is Literal:
        fits = form in get_args(of)
    else:
        fits = type(form) is of or (of is float and type(form) is int)
    if not fits:
        raise UnreadableError(f"{type(form).__name__} in place of {of}")
    return form


def _write_bytes(value: bytes, put: Put) -> Form:
    return value.decode("latin-1") if len(value) < LONG else {"blob": put(value)}


def _read_bytes(form: Form, get: Get) -> bytes:
    if isinstance(form, str):
        return form.encode("latin-1")
    return get(_address(form))


def _write_text(value: str, put: Put) -> Form:
    return value if len(value) < LONG else {"blob": put(text_bytes(value))}


def _read_text(form: Form, get: Get) -> str:
    return form if isinstance(form, str) else get(_address(form)).decode("utf-8", "surrogatepass")


def _address(form: Form) -> str:
    match form:
        case {"blob": str(address)}:
            return address
        case _:
            raise UnreadableError(f"{type(form).__name__} in place of a text")


def _union(args: tuple[Any, ...]) -> Codec:
    """None, or one of plain types that JSON tells apart, or one of several Structs by its class's name."""
    structs = {it.__name__: it for it in args if isinstance(it, type) and issubclass(it, Struct)}
    others = [it for it in args if it not in structs.values() and it is not NoneType]
    is_tagged = len(structs) > 1

    def writes(value: Any, put: Put) -> Form:  # noqa: ANN401
        if value is None:
            return None
        if isinstance(value, Struct):
            form = codec(type(value)).writes(value, put)
            return {"is": type(value).__name__, **form} if is_tagged else form
        if isinstance(value, tuple):
            of = next(it for it in others if get_origin(it) is tuple)
            return codec(of).writes(value, put)
        kind: Any = type(value)
        return codec(kind).writes(value, put)

    def reads(form: Form, get: Get) -> Any:  # noqa: ANN401
        if form is None and NoneType in args:
            return None
        if isinstance(form, dict) and structs and "blob" not in form:
            name = form.get("is") if is_tagged else next(iter(structs))
            if name not in structs:
                raise UnreadableError(f"no {name!r} is known here")
            return codec(structs[name]).reads(form, get)
        for other in (*others, *structs.values()):
            try:
                return codec(other).reads(form, get)
            except (UnreadableError, AttributeError, TypeError):
                continue
        raise UnreadableError(f"{type(form).__name__} where none can be")

    return Codec(writes, reads)


def _items(of: Any, made: Callable[[Any], Any]) -> Codec:  # noqa: ANN401
    def reads(form: Form, get: Get) -> Any:  # noqa: ANN401
        if not isinstance(form, list):
            raise UnreadableError(f"{type(form).__name__} in place of a list")
        one = codec(of).reads
        return made([one(it, get) for it in form])

    def writes(value: Any, put: Put) -> Form:  # noqa: ANN401
        one = codec(of).writes
        forms = [one(it, put) for it in value]
        return sorted(forms, key=repr) if made is frozenset else forms

    return Codec(writes, reads)


def _fixed(args: tuple[Any, ...]) -> Codec:
    def writes(value: Any, put: Put) -> Form:  # noqa: ANN401
        return [codec(of).writes(it, put) for of, it in zip(args, value, strict=True)]

    def reads(form: Form, get: Get) -> Any:  # noqa: ANN401
        if not isinstance(form, list) or len(form) != len(args):
            raise UnreadableError(f"{type(form).__name__} in place of {len(args)} values")
        return tuple(codec(of).reads(it, get) for of, it in zip(args, form, strict=True))

    return Codec(writes, reads)


def _pairs(key: Any, value: Any) -> Codec:  # noqa: ANN401
    items = codec(tuple[tuple[key, value], ...])
    return Codec(
        lambda found, put: items.writes(tuple(found.items()), put),
        lambda form, get: dict(items.reads(form, get)),
    )


def _member(of: type[Enum], form: Form, _: Get) -> Enum:
    try:
        return of[form]
    except KeyError as error:
        raise UnreadableError(f"{of.__name__} has no {form!r}") from error


def _struct(of: type[Struct]) -> Codec:
    if of in SHARED:
        return Codec(
            lambda value, put: {"blob": put(encoded(_fields(of).writes(value, put)))},
            lambda form, get: _shared(of.__name__, get(_address(form)), get),
        )
    return _fields(of)


@lru_cache(maxsize=64)
def _shared(name: str, content: bytes, get: Get) -> Any:  # noqa: ANN401
    of = next(it for it in SHARED if it.__name__ == name)
    return _fields(of).reads(decoded(content), get)


@cache
def _fields(of: type[Struct]) -> Codec:
    @cache
    def parts() -> list[tuple[str, Codec, Any]]:
        return [(field.name, codec(field.type), _default(field)) for field in fields(of)]

    def writes(value: Any, put: Put) -> Form:  # noqa: ANN401
        found = ((name, one, getattr(value, name), default) for name, one, default in parts())
        return {name: one.writes(it, put) for name, one, it, default in found if not _is_same(it, default)}

    def reads(form: Form, get: Get) -> Any:  # noqa: ANN401
        if not isinstance(form, dict):
            raise UnreadableError(f"{type(form).__name__} in place of a {of.__name__}")
        given = {name: one.reads(form[name], get) for name, one, _ in parts() if name in form}
        try:
            return of(**given)
        except TypeError as error:
            raise UnreadableError(f"{of.__name__}: {error}") from error

    return Codec(writes, reads)


def _default(field: FieldInfo) -> Any:  # noqa: ANN401
    made = field.default_factory
    return field.default if made is NODEFAULT else made()


def _is_same(value: object, default: object) -> bool:
    # 1 is True, and 0.0 is -0.0: only what is the same in every way may be left out.
    if value is default:
        return True
    return type(value) is type(default) and not isinstance(value, float) and value == default


def encoded(form: Form) -> bytes:
    """One line of ASCII, the same for equal forms. `json` of the library writes halves of pairs and NaN."""
    return json.dumps(form, separators=(",", ":")).encode("ascii")


def decoded(line: bytes) -> Form:
    """`UnreadableError` for what is no JSON."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UnreadableError("no JSON") from error


EVENTS = {it.__name__: it for it in get_args(Event)}
_KEYS: dict[str, type[Key]] = {"exchange": ExchangeKey, "turn": TurnKey, "transcript": TranscriptKey}
_KINDS = {kind: name for name, kind in _KEYS.items()}


def write_event(event: Event, put: Put) -> Form:
    return [type(event).__name__, codec(type(event)).writes(event, put)]


def read_event(form: Form, get: Get) -> Event:
    match form:
        case [str(name), of] if name in EVENTS:
            return cast("Event", codec(EVENTS[name]).reads(of, get))
        case [str(name), _]:
            raise UnreadableError(f"an event named {name!r}, of which this version knows nothing")
        case _:
            raise UnreadableError("no event")


def write_key(key: Key) -> Form:
    return [_KINDS[type(key)], *astuple(key)]


def read_key(form: Form) -> Key:
    match form:
        case [str(kind), *names] if kind in _KEYS and all(isinstance(it, str) for it in names):
            try:
                return _KEYS[kind](*names)
            except TypeError as error:
                raise UnreadableError("no key") from error
        case _:
            raise UnreadableError("no key")
