"""Redis as it is found: other versions, TLS, users, Sentinel, Cluster, and what survives."""
