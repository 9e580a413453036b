"""The query layer: profiles, recommendations, search, explanations and the HTTP API."""
