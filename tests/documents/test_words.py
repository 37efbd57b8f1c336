"""Words that must not come back are in no document, message, docstring or comment."""

import pytest

from tests.documents.words import documents, found_in, sources, texts_of_tests

DOCUMENTS = dict(documents())


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_document_has_none_of_the_words(document: str) -> None:
    assert found_in(" ".join(DOCUMENTS[document].split())) == []


def test_sources_have_none_of_the_words() -> None:
    found = {file: found_in(text) for file, text in sources()}
    assert {file: words for file, words in found.items() if words} == {}


def test_tests_have_none_of_the_words() -> None:
    found = {file: found_in(text) for file, text in texts_of_tests()}
    assert {file: words for file, words in found.items() if words} == {}


@pytest.mark.parametrize(
    "text", ["the result is told by a watch", "whoever asks", "Anew", "a full line", "its face"]
)
def test_such_words_are_found(text: str) -> None:
    assert found_in(text)


@pytest.mark.parametrize("text", ["they cannot be told apart", "a surface", "Hugging Face"])
def test_plain_words_are_not(text: str) -> None:
    assert found_in(text) == []
