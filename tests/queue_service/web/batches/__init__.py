"""The Batch API, with OpenAI's client and without."""
