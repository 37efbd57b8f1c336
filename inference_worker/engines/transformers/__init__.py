"""Models of transformers: text generation with continuous batching, embeddings, pipelines.

    request -> sequence -> scheduler -> runner (own | paged) -> sampling -> stops -> reply

`engine` connects them; `loop` runs the steps.  Only `loading`, `runner`, `grid`, `sampling`,
`paged` and the `start` of each engine import torch: the supervisor creates an engine only to check
its name, and must not pay a gigabyte of memory for that.
"""
