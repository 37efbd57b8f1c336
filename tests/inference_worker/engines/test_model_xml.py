"""A model in XML that names files or addresses is refused before a parser opens them."""

import asyncio
from pathlib import Path

import pytest

from inference_worker.engines.engine import Context
from inference_worker.engines.load import EngineSpec, load_engine
from inference_worker.engines.model_xml import BadModelXml, checked_xml, without_declaration
from inference_worker.errors import EngineFailed

MODEL = (Path(__file__).parents[3] / "examples" / "pmml_model" / "flowers.pmml").read_text()
BODY = MODEL.partition("?>")[2]

FETCHED = '<!DOCTYPE PMML SYSTEM "http://127.0.0.1:{port}/x.dtd">'
ENTITY = '<!DOCTYPE PMML [<!ENTITY % x SYSTEM "http://127.0.0.1:{port}/x"> %x;]>'
GROWING = '<!DOCTYPE PMML [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'


@pytest.mark.parametrize("doctype", [FETCHED, ENTITY, GROWING, "<!DOCTYPE PMML>"])
@pytest.mark.parametrize(
    ("declared", "encoding"),
    [
        ("", "utf-8"),
        ('<?xml version="1.0"?>', "utf-8-sig"),
        ('<?xml version="1.0" encoding="UTF-16"?>', "utf-16"),
        ("", "utf-16-be"),
        ('<?xml version="1.0" encoding="utf-16le"?>', "utf-16-le"),
        ('<?xml version="1.0" encoding="ISO-8859-1"?>', "iso-8859-1"),
        ("<!-- a remark -->\n", "utf-8"),
    ],
)
def test_a_document_type_is_refused_however_it_is_written(
    doctype: str, declared: str, encoding: str
) -> None:
    with pytest.raises(BadModelXml, match="without a DOCTYPE"):
        checked_xml(f"{declared}{doctype}{BODY}".encode(encoding))


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (f'<?xml version="1.0" encoding="UTF-7"?>+ADw-!DOCTYPE x+AD4-{BODY}'.encode(), "utf-7"),
        (f'<?xml version="1.0" encoding="cp037"?>{BODY}'.encode(), "cp037"),
        (b"\xff\xfe\x00\x00<", "expected a model"),
        (b"\x1f\x8b a gzip", "expected a model"),
        # One parser stops at the version, and another may not.
        (f'<?xml version="9.9"?><<!DOCTYPE PMML>{BODY}'.encode(), "DOCTYPE"),
        (f"<PMML><!DOCTYPE PMML>{BODY}".encode(), "DOCTYPE"),
    ],
)
def test_what_is_no_plain_model_is_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(BadModelXml, match=sentence):
        checked_xml(data)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1"])
def test_a_plain_model_is_read_whatever_it_is_written_in(encoding: str) -> None:
    named = encoding.removesuffix("-sig")
    rest = f"\n<!-- <!DOCTYPE x> ü -->{BODY}"
    text = f'<?xml version="1.0" encoding="{named}"?>{rest}'
    assert checked_xml(text.encode(encoding)) == text
    assert without_declaration(text) == rest


@pytest.mark.parametrize("doctype", [FETCHED, ENTITY])
async def test_a_worker_fetches_nothing_that_its_model_names(doctype: str, tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(str(writer.get_extra_info("peername")))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    path = tmp_path / "model.pmml"
    path.write_text(doctype.replace("{port}", str(port)) + BODY)
    engine = load_engine(EngineSpec(f"pmml:{path}"))
    with pytest.raises(EngineFailed, match="DOCTYPE"):
        await engine.start(Context())
    await engine.stop(0.0)
    server.close()
    await server.wait_closed()
    assert asked == []
