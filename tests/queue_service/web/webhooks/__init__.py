"""Webhooks: the routes, the sender, and what receivers get."""
