"""Commands: some ask the akin that runs, or one made for them; the others open the ledger or a file themselves."""
