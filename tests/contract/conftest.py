"""Fixtures of the contract suites: one module per protocol, imported here."""

from index_fixtures import collection, edge_folder, index, stand_in
from ledger_fixtures import ledger, ledger_url

__all__ = ["collection", "edge_folder", "index", "ledger", "ledger_url", "stand_in"]
