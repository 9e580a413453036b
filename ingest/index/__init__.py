"""Vectors and payload in Qdrant: one neutral protocol, one adapter per engine."""
