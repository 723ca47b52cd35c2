"""A trained policy leaves the house: export it, serve it, talk to it."""
