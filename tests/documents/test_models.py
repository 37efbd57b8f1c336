"""Whatever a language model can be asked is in docs/models.md."""

from inference_worker.engines.transformers.request import GenerationRequest
from tests.documents.settings_table import DOCUMENT


def test_every_parameter_of_a_request_is_documented() -> None:
    text = DOCUMENT.with_name("models.md").read_text(encoding="utf-8")
    missing = [name for name in GenerationRequest.model_fields if f"`{name}`" not in text]
    assert missing == []
