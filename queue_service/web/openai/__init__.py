"""The OpenAI API: puts a queue in front of a model for any OpenAI client."""
