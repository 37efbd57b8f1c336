"""Generated from the .proto files beside this one by `make proto`; only `wire` imports it."""
