"""The engines on models of transformers; they skip where torch is not installed."""
