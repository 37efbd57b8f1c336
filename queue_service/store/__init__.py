"""Redis streams and the Lua that gives them their meaning."""
