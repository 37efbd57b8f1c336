"""The Batch API, in OpenAI's format."""
