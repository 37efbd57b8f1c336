"""The promises, against real processes: windows, balance, leases, the full sink."""
