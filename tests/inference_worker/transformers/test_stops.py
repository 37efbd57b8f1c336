"""From tokens to text: whole characters, and no character of a stop string.  No model."""

import random
import re

import pytest

from inference_worker.engines.transformers.stops import Characters, StopStrings, Writer


def decode_bytes(ids: list[int]) -> str:
    """Decode as a byte-level tokenizer does: one token for each byte."""
    return bytes(ids).decode(errors="replace")


def decode_by_fallback(ids: list[int]) -> str:
    """Decode as a tokenizer with byte fallback does: a run of bytes is right or all wrong."""
    runs = re.findall(rb"[\x80-\xff]+|[\x00-\x7f]+", bytes(ids))
    return "".join(_run(run) for run in runs)


def _run(run: bytes) -> str:
    try:
        return run.decode()
    except UnicodeDecodeError:
        return "�" * len(run)


def decode_words(ids: list[int]) -> str:
    """Decode as a tokenizer does that drops the space before the first word."""
    return "".join(f" w{number}" for number in ids).removeprefix(" ")


@pytest.mark.parametrize("decode", [decode_bytes, decode_by_fallback])
def test_a_character_of_several_tokens_is_shown_when_it_is_whole(decode: object) -> None:
    assert callable(decode)
    characters = Characters(decode)
    text = "né € 𝄞 " + "日本語" * 9 + ", and " + "long " * 20 + "𝄞𝄞"
    pieces = [characters.push(byte) for byte in text.encode()]
    assert "".join(pieces) == text
    assert not any("�" in piece for piece in pieces)


def test_bytes_that_never_become_a_character_hold_nothing_back_for_long() -> None:
    characters = Characters(decode_bytes)
    pieces = [characters.push(0xFF) for _ in range(100)]
    assert len("".join(pieces)) > 80
    assert "".join(pieces) + characters.push(ord("a")) == decode_bytes([0xFF] * 100) + "a"


def test_random_bytes_are_decoded_as_if_they_had_come_at_once() -> None:
    dice = random.Random(3)
    for _ in range(300):
        alphabet = [0x41, 0x41, 0x42, 0xC3, 0xA9, 0xE2, 0x82, 0xAC, 0xF0, 0x9D, 0x84, 0x9E]
        ids = [dice.choice(alphabet) for _ in range(40)] + [0x41]
        characters = Characters(decode_bytes)
        assert "".join(map(characters.push, ids)) == decode_bytes(ids)


def test_the_space_between_two_words_survives() -> None:
    characters = Characters(decode_words)
    assert "".join(characters.push(n) for n in range(50)) == decode_words(list(range(50)))


def test_a_stop_string_over_several_pieces_is_never_shown() -> None:
    stops = StopStrings(["\nUser:"])
    shown = [stops.push(piece) for piece in ["Hello", ".\n", "Us", "er", ": and", "more"]]
    assert shown == ["Hello", ".", "", "", "", ""]
    assert stops.stopped
    assert stops.rest() == ""


def test_what_only_looked_like_a_stop_string_is_shown_late() -> None:
    stops = StopStrings(["END"])
    assert [stops.push(piece) for piece in ["an E", "N", "d", "EN"]] == ["an ", "", "ENd", ""]
    assert not stops.stopped
    assert stops.rest() == "EN"


def test_the_stop_string_that_begins_first_cuts_the_text() -> None:
    stops = StopStrings(["world", "lo w"])
    assert stops.push("hello world") == "hel"


def test_however_the_text_is_cut_into_pieces_the_same_is_shown() -> None:
    dice = random.Random(4)
    for _ in range(500):
        text = "".join(dice.choice("ab") for _ in range(30))
        wanted = ["abba", "bbbb", "aab"]
        starts = [at for stop in wanted if (at := text.find(stop)) >= 0]
        stops, shown, rest = StopStrings(wanted), "", text
        while rest:
            size = dice.randint(1, 4)
            shown += stops.push(rest[:size])
            rest = rest[size:]
            if stops.stopped:
                break
        if starts:
            # Whichever stop is whole first ends it; none of it may have been shown.
            assert stops.stopped
            assert not any(stop in shown for stop in wanted)
            assert text.startswith(shown)
        else:
            assert shown + stops.rest() == text


def test_half_a_character_at_the_end_is_dropped() -> None:
    writer = Writer(decode_bytes, [])
    assert "".join(map(writer.push, "a€".encode()[:-1])) + writer.rest() == "a"
