import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as evolve

from loom_core import call, chain
from loom_core.call import Call
from loom_core.metadata import Metadata
from loom_core.profile import Profile
from loom_core.subject import decides, scope_of, system_mark
from loom_core.system import ATTRIBUTION
from loom_core.values import Headers, Request
from tests.support.conversations import MARKER, SCOPE, hostile, text
from tests.support.weaving import AGENT, COUNT, MAIN, SIDE

ANN, OF_AGENTS = Profile("ann", "1"), Profile("ann", "1", agents=True)
CLIENT = (b"user-agent", b"claude-cli/2.1.328 (external, cli)")
TOOLS = b',"tools":[{"name":"Read"}]'


def asked(
    *headers: tuple[bytes, bytes], path: bytes = b"/v1/messages", more: bytes = b"", messages: int = 1
) -> tuple[Call, Request]:
    listed = b",".join([b'{"role":"user","content":"hi"}'] * messages)
    body = b'{"messages":[' + listed + b"]" + more + b"}"
    return call.read(path, headers, body, None), Request("POST", path, headers)


def named(user: str = "u", session: str = "s", agent: str = "", **more: str) -> Call:
    return evolve(asked()[0], user_id=user, session=session, agent=agent, **more)


@pytest.mark.spec("weave.scope")
def test_a_ledger_is_that_of_a_session_and_not_of_an_agent_a_model_or_an_account() -> None:
    assert scope_of(named()) == scope_of(named(agent="a-1", model="other")) == scope_of(named(user=""))
    assert scope_of(named()) != scope_of(named(session="t"))
    assert len(scope_of(named("\ud83d", "\x00"))) == 32


@pytest.mark.parametrize(
    ("headers", "path", "ann", "of_agents"),
    [
        ((), b"/v1/messages", True, True),
        ((MAIN,), b"/v1/messages", True, True),
        ((SIDE,), b"/v1/messages", False, False),
        (((b"x-claude-code-request-class", b"compaction"),), b"/v1/messages", False, False),
        (((b"x-claude-code-request-class", b"side_reply"),), b"/v1/messages", False, False),
        (AGENT, b"/v1/messages", False, True),
        ((MAIN, AGENT[1]), b"/v1/messages", False, True),
        ((MAIN,), COUNT, False, False),
        (AGENT, COUNT, False, False),
    ],
)
@pytest.mark.spec("weave.who-decides")
def test_the_main_agents_calls_decide_and_those_of_subagents_where_a_profile_has_them(
    headers: Headers, path: bytes, *, ann: bool, of_agents: bool
) -> None:
    said, request = asked(*headers, path=path)
    assert decides(said, request, ANN) is ann
    assert decides(said, request, OF_AGENTS) is of_agents


@pytest.mark.parametrize(
    ("headers", "more", "messages", "is_main"),
    [
        ((CLIENT,), b"", 1, False),
        ((CLIENT,), b',"tools":[]', 1, False),
        ((CLIENT,), TOOLS, 1, True),
        ((CLIENT,), b"", 2, True),
        ((CLIENT, MAIN), b"", 1, True),
        (((b"user-agent", b"curl/8"),), b"", 1, True),
        ((), b"", 1, True),
    ],
)
@pytest.mark.spec("weave.who-decides")
def test_a_client_that_names_no_class_asks_small_things_beside_the_loop(
    headers: Headers, more: bytes, messages: int, *, is_main: bool
) -> None:
    said, request = asked(*headers, more=more, messages=messages)
    assert decides(said, request, ANN) is is_main
    told = evolve(said, metadata=Metadata(session_id="s"))
    assert decides(told, request, ANN), "the hook tells of it: a person typed this"


def mark(system: Any) -> str:  # noqa: ANN401 any JSON
    body = json.dumps({"messages": [], "system": system}).encode()
    found = chain.read(body, SCOPE)
    assert found is not None
    return system_mark(found)


BILLED = f"{ATTRIBUTION} cc_version=2.1.328; cch=abcde;"


@pytest.mark.spec("weave.beside")
def test_the_mark_of_a_system_prompt_is_that_of_its_texts() -> None:
    assert mark("Be brief.") == mark([text("Be brief.")])
    assert mark([text("a") | {"cache_control": MARKER}, text("b")]) == mark([text("a"), text("b")])
    assert mark([text(BILLED), text("a")]) == mark([text(BILLED[:-6] + "fghij;"), text("a")]) == mark("a")
    different = [
        mark("a"),
        mark("b"),
        mark([text("a"), text("b")]),
        mark([text("ab")]),
        mark([text("a"), text(BILLED)]),
    ]
    assert len(set(different)) == len(different)


@given(
    st.none() | st.integers() | hostile | st.lists(st.none() | st.integers() | hostile.map(text), max_size=3)
)
@pytest.mark.spec("weave.beside", "weave.garbage")
def test_any_system_prompt_has_a_mark(system: object) -> None:
    assert len(mark(system)) == 16
    assert mark(system) == mark(system)


@pytest.mark.spec("weave.beside")
def test_without_a_system_prompt_there_is_a_mark_too() -> None:
    found = chain.read(b'{"messages":[]}', SCOPE)
    assert found is not None
    assert system_mark(found) == mark(None) == mark("")
