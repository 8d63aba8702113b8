from pathlib import Path

import pytest

from tests.house import purity, tree


@pytest.mark.parametrize("path", tree.sources("loom_core"), ids=tree.name)
def test_the_core_computes_and_does_nothing_else(path: Path) -> None:
    assert purity.faults(path.read_text(encoding="utf-8")) == ()


@pytest.mark.parametrize(
    "source",
    [
        "import os",
        "import time",
        "import asyncio",
        "import random",
        "import logging",
        "import loom_shell.config",
        "import msgspec, socket",
        "import os.path as re",
        "from time import time_ns",
        "from datetime import datetime",
        "from email.utils import formatdate",
        "from urllib import request",
        "from loom_shell import driver",
        "from . import events",
        "from ..loom_shell import driver",
        "def f():\n    import os",
        "class A:\n    def f(self):\n        from os import environ",
        "if TYPE_CHECKING:\n    import httpx",
        "open('x')",
        "print(1)",
        "input()",
        "exec('1')",
        "eval('1')",
        "compile('1', '', 'eval')",
        "__import__('os')",
        "reader = open",
        "hash('x')",
        "id(1)",
        "globals()['x'] = 1",
        "__builtins__.open('x')",
        "gzip.open('x')",
        "n = 0\ndef f():\n    global n\n    n = 1",
        "def f():\n    n = 0\n    def g():\n        nonlocal n\n        n = 1",
        "async def f(): ...",
        "async def f():\n    await g()",
        "async def f():\n    async with g(): ...",
        "async def f():\n    async for _ in g(): ...",
        "async def f():\n    return [x async for x in g()]",
    ],
)
def test_the_check_finds(source: str) -> None:
    assert purity.faults(source)


@pytest.mark.parametrize(
    "source",
    [
        "import re, zlib, hashlib",
        "import collections.abc",
        "import urllib.parse",
        "from urllib import parse",
        "from collections.abc import Iterator",
        "from attrs import frozen",
        "import msgspec.json",
        "from loom_core import sse",
        "from loom_core.events import Event",
        "from email.utils import parsedate_to_datetime",
        "re.compile('x')",
        "class A:\n    id: str",
        "key.id",
        "Request(id='x', input='y')",
    ],
)
def test_the_check_allows(source: str) -> None:
    assert purity.faults(source) == ()


def test_a_fault_names_its_line() -> None:
    assert purity.faults("x = 1\nimport os\n") == ("2: imports os",)
