"""Nested structures of tensors, and the specifications of their leaves."""
