"""From the store to a connection: windows, doorbells, dispatching, leases."""
