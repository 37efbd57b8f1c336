"""The engines and the one contract they keep."""
