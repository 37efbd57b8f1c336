"""Webhooks: what a service sends when its jobs end."""
