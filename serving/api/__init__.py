"""The HTTP API: thin routes over the query layer and the write use cases."""
