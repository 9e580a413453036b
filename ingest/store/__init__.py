"""The ledger: the system of record for items, events, placements and generations."""
