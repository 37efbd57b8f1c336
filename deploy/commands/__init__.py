"""The commands of `penstock`: one file each, named after the command, and what they share."""
