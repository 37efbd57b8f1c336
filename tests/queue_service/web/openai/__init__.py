"""The OpenAI API, with OpenAI's own client."""
