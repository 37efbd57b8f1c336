"""The faces: EAS, workers, operators."""
