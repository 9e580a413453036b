"""Commands that need no query layer: they open the ledger, the index, an encoder or a file themselves."""
