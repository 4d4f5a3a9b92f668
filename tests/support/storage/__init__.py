"""The servers that tests store arrays in, the clients that check them, and a proxy with faults.

`fixtures.py` gives them to tests. Each server is a `Store`: its URLs and options for tensorferry,
and a plain client, independent of tensorferry, to put and compare objects.
"""
