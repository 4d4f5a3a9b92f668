"""The methods of ``Dataset``, one mixin per file, and their helpers."""
