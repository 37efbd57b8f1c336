"""HTTP: one package for each API, and what the APIs share."""
