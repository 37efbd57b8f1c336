"""Every API reports a wrong option in the same form."""

import pytest

from queue_service.errors import BadParameter
from queue_service.web.jobs.options import from_query, read_options


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"priority": "x"}, "priority: expected a whole number, got 'x'"),
        ({"priority": "-1"}, "priority: expected a value greater than or equal to 0, got '-1'"),
        ({"events": "often"}, "events: expected true or false, got 'often'"),
        ({"run_timeout": "soon"}, "run_timeout: expected a duration"),
        ({"foo": "1"}, "foo: expected one of the names priority, tags, path"),
    ],
)
def test_an_option_that_is_wrong_is_named_in_plain_words(
    given: dict[str, object], sentence: str
) -> None:
    with pytest.raises(BadParameter) as caught:
        read_options(given, most_not_before_s=60)
    assert str(caught.value).startswith(sentence)
    assert str(caught.value).count("got ") == 1


@pytest.mark.parametrize("tag", [":y", "x", ""])
def test_the_error_for_a_tag_without_a_name_or_a_colon_gives_the_form(tag: str) -> None:
    with pytest.raises(BadParameter, match="tag: expected the form name:value"):
        from_query({}, [tag])
