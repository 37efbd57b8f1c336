"""The demo's language model behind the OpenAI API: chats, streams, vectors."""

from pathlib import Path

import openai
import pytest

from deploy.demo.faq import read_faq
from tests.conftest import StartService, StartWorker
from tests.running import TOKEN

MODEL = str(Path(__file__).parents[4] / "deploy" / "demo" / "model")
OPTIONS: dict[str, object] = {"torch_threads": 1, "device": "cpu"}


@pytest.mark.timeout(180)
async def test_the_demo_s_model_answers_openai_s_client(
    start_service: StartService, start_worker: StartWorker
) -> None:
    pytest.importorskip("transformers", reason="needs the extra `transformers`")
    service = await start_service({"name": "svc"}, {"name": "vectors"})
    await start_worker(
        service.url,
        engine=f"transformers:{MODEL}",
        engine_options={**OPTIONS, "max_tokens_in_batch": 4096},
    )
    await start_worker(service.url, "vectors", engine=f"embeddings:{MODEL}", engine_options=OPTIONS)
    pair = read_faq()[0]
    async with openai.AsyncOpenAI(base_url=f"{service.url}/v1", api_key=TOKEN) as client:
        whole = await client.chat.completions.create(
            model="svc", messages=[{"role": "user", "content": pair.question}]
        )
        assert whole.choices[0].message.content == pair.answer
        assert whole.usage is not None
        assert whole.usage.completion_tokens > 0

        stream = await client.chat.completions.create(
            model="svc",
            messages=[{"role": "user", "content": [{"type": "text", "text": pair.question}]}],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        assert text == pair.answer
        assert chunks[-1].usage == whole.usage

        vectors = await client.embeddings.create(model="vectors", input=["one", "two"])
        assert [len(item.embedding) for item in vectors.data] == [128, 128]
        assert sum(x * x for x in vectors.data[0].embedding) == pytest.approx(1.0, abs=1e-3)
