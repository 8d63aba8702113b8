from loom_core.recurring import LONGEST, MOST, recurring


def test_a_short_text_is_looked_at_once_and_a_long_one_each_time() -> None:
    seen: list[str] = []

    @recurring
    def length(text: str) -> int:
        """How long it is."""
        seen.append(text)
        return len(text)

    for text in ("a", "a", "x" * LONGEST, "x" * LONGEST, "y" * (LONGEST + 1), "y" * (LONGEST + 1)):
        assert length(text) == len(text)
    assert [len(text) for text in seen] == [1, LONGEST, LONGEST + 1, LONGEST + 1]
    assert length.__doc__ == "How long it is."


def test_what_is_kept_is_bounded() -> None:
    calls = 0

    @recurring
    def called(text: str) -> str:
        nonlocal calls
        calls += 1
        return text

    for number in range(MOST + 1):
        called(f"{number}")
    assert called("0") == "0"
    assert calls == MOST + 2
