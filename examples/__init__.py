"""Users' code as users write it; `make test` runs each file here through a worker."""
