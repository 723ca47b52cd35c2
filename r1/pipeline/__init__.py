"""The papers' stages as one graph: recipes, a store of what was made, a driver that goes on where it stopped, a ledger."""
