"""Taste: item-item weights learned from events, one sparse vector per item."""
