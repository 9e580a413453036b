"""Fixtures of the contract suites: one module per protocol, imported here."""

from index_fixtures import collection, edge_folder, index, stand_in

__all__ = ["collection", "edge_folder", "index", "stand_in"]
