"""The HTTP front: one server for a team, at one address, which any replica can be behind."""
