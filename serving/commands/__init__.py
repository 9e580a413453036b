"""Commands that need no running server: they open the ledger, the index or a file themselves."""
