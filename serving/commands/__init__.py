"""Commands of the query layer: they ask a running akin, or measure how good its answers are."""
