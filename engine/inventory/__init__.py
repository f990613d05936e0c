"""Retailers who order goods: demand, the table game, a simulator of whole units, simple rules, and comparisons with them."""

GAME_SIZES = {"inventory-tiny": "tiny", "inventory": "medium", "inventory-large": "large"}
"""Size of each built-in inventory game; here, so that a name can be told without what computes the tables."""
