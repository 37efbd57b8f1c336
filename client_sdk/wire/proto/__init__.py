"""Generated from the .proto files beside this one by `make proto`; nothing outside `wire` imports it."""
