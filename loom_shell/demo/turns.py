"""The turns of the conversation, as the Loom followed them."""

import httpx
import msgspec
from rich.tree import Tree

from loom_shell.demo.stage import DemoFailed
from loom_shell.recent import Page
from loom_shell.turn_tree import shown

SECONDS = 3.0


async def turns(loom: str, session: str) -> list[Tree]:
    """Ask the Loom at `loom` for the turns of a session, oldest first. Raises `DemoFailed`."""
    async with httpx.AsyncClient(base_url=loom, trust_env=False, timeout=SECONDS) as client:
        # What Claude Code's Stop hook tells at the end of each turn.
        await client.post("/loom/hooks", json={"hook": "Stop", "session_id": session})
        answer = await client.get("/loom/turns", params={"session": session})
    try:
        page = msgspec.json.decode(answer.content, type=Page)
    except msgspec.MsgspecError:
        raise DemoFailed(f"the Loom did not tell of its turns (status {answer.status_code})") from None
    return [turn.tree for trace in page.turns for turn in shown(trace)]
