"""Words that must not come back are in no document, message or docstring."""

import pytest

from tests.documents.words import documents, found_in, sources, to_rewrite

DOCUMENTS = dict(documents())


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_document_has_none_of_the_words(document: str) -> None:
    assert found_in(" ".join(DOCUMENTS[document].split())) == []


def test_messages_and_docstrings_have_none_of_the_words() -> None:
    excused = to_rewrite()
    print(f"{len(excused)} files are still to be rewritten: tests/documents/words_to_rewrite.txt")
    found = {file: found_in(text) for file, text in sources() if file not in excused}
    assert {file: words for file, words in found.items() if words} == {}


@pytest.mark.parametrize(
    "text", ["the result is told by a watch", "whoever asks", "Anew", "a full line", "its face"]
)
def test_such_words_are_found(text: str) -> None:
    assert found_in(text)


@pytest.mark.parametrize("text", ["they cannot be told apart", "a surface", "Hugging Face"])
def test_plain_words_are_not(text: str) -> None:
    assert found_in(text) == []
