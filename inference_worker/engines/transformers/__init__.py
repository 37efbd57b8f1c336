"""Models by transformers: text generation with continuous batching, embeddings, pipelines.

    request -> sequence -> scheduler -> runner (own | paged) -> sampling -> stops -> reply

`engine` wires them; `loop` takes the steps.  Only `runner`, `grid`, `sampling`, `paged` and the
`start` of each engine import torch: naming an engine must not cost the supervisor a gigabyte.
"""
