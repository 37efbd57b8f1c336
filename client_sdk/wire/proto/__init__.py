"""Generated from the .proto files beside this one by `make proto`; for `wire` alone."""
