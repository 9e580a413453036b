"""Measurements that print figures and judge nothing by themselves; run them with `make bench`."""
