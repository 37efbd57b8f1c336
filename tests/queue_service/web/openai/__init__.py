"""The OpenAI face, with OpenAI's own client."""
