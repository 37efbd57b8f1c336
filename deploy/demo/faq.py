"""The FAQ about Penstock: what the demo asks, and what its model has learned by heart."""

import json
from dataclasses import dataclass
from pathlib import Path

#: The questions and answers, one JSON object a line.
FAQ_PATH = Path(__file__).with_name("faq.jsonl")

#: How many of them, counted from the first, `penstock demo` asks.
DEMO_QUESTIONS = 20


@dataclass(frozen=True, slots=True)
class Pair:
    """One question and its only right answer, word for word."""

    question: str
    answer: str


def read_faq(path: Path = FAQ_PATH) -> list[Pair]:
    """Return the pairs of the file in its order."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Pair(**json.loads(line)) for line in lines if line]
