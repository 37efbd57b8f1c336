"""The check of the Lua scripts, and its tests."""
