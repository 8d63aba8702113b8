"""The page's script reads values by the names and places that they have here: the two are held together."""

import re
from pathlib import Path

import msgspec
import pytest

from loom_shell.inspect import page
from loom_shell.inspect.shown import (
    Asked,
    Block,
    Exchange,
    File,
    Inside,
    Lane,
    Line,
    Message,
    Recording,
    Tool,
    Turn,
    Woven,
)

SCRIPT = "\n".join((Path(page.__file__).parent / name).read_text("utf-8") for name in page.SCRIPTS)
READ = {
    "row": Exchange,
    "turn": Turn,
    "lane": Lane,
    "tool": Tool,
    "told": Asked,
    "inside": Inside,
    "woven": Woven,
    "recording": Recording,
    "file": File,
}
"""The script's word for each."""
OF_LISTS = frozenset({"length", "filter", "map", "forEach", "indexOf"})


@pytest.mark.parametrize("word", READ)
def test_the_script_reads_only_fields_that_are_there(word: str) -> None:
    fields = set(READ[word].__struct_fields__)
    read = set(re.findall(rf"(?<![\w.]){word}\.(\w+)", SCRIPT)) - OF_LISTS
    assert read
    assert read <= fields


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (Line, "at, sign, name, text, state, times, size"),
        (Block, "kind, text, mark, marker, tokens, was, holds"),
        (Message, "number, role, blocks, left"),
    ],
)
def test_what_is_an_array_has_its_fields_where_the_script_looks(
    value: type[msgspec.Struct], names: str
) -> None:
    assert f"[{names}]" in SCRIPT
    fields = ["times" if name == "count" else name for name in value.__struct_fields__]
    assert fields == names.split(", ")


def test_lines_and_blocks_are_arrays() -> None:
    assert msgspec.json.encode(Line(1, ">>", "A", 2)) == b'[1,">>","A",2,"",1,0]'
    assert (
        msgspec.json.encode(Message(1, "user", [Block("text", 0)]))
        == b'[1,"user",[["text",0,"","",0,-1,""]],0]'
    )
