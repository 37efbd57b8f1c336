"""The Helm chart: rendered by Helm itself, checked against schemas, and run as far as it can be."""
