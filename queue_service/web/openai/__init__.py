"""The OpenAI face: any OpenAI client gets a queue and a window in front of its model."""
