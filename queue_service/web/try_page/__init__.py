"""The page for trying a service: a form made from its schema; served as it is, without a build."""
