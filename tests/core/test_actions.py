"""Orders are frozen values: comparable, and so fit for a dialogue."""

import inspect
from typing import get_args, get_type_hints

import pytest

from loom_core import actions
from loom_core.actions import Action, LogExchange, Note, SendUpstream

EACH_ACTION = pytest.mark.parametrize("kind", get_args(Action), ids=lambda kind: kind.__name__)


def test_every_order_in_the_file_is_an_action() -> None:
    orders = {
        kind
        for _, kind in inspect.getmembers(actions, inspect.isclass)
        if kind.__module__ == actions.__name__
    }
    assert orders == set(get_args(Action))


@EACH_ACTION
def test_an_order_is_a_frozen_value(kind: type) -> None:
    values = [str(number) for number, _ in enumerate(kind.__match_args__)]
    order = kind(*values)
    assert order == kind(*values)
    for name in kind.__match_args__:
        with pytest.raises(AttributeError):
            setattr(order, name, "other")
    with pytest.raises(AttributeError):
        order.anything = 1


@pytest.mark.spec("exchange.record-discreet", "exchange.record-path")
def test_the_record_has_no_place_for_headers_body_or_query() -> None:
    assert not set(LogExchange.__match_args__) & {"headers", "body", "data", "target", "query", "request"}


@pytest.mark.spec("exchange.one-credential")
def test_an_order_upstream_has_no_place_for_the_looms_key() -> None:
    credentials = {name: kind for name, kind in get_type_hints(SendUpstream).items() if "credential" in name}
    assert credentials == {"replace_credential": bool}


def test_a_note_is_text() -> None:
    assert Note("x").text == "x"
