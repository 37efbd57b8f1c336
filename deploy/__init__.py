"""The composition root: the `penstock` command, local mode, the demo, and how Penstock is run."""
