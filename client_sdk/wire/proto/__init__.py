"""Generated from the .proto files by `make proto`; nothing outside `wire` imports it."""
