"""The library: what an item is, how it becomes vectors, where items, events and vectors are kept."""
