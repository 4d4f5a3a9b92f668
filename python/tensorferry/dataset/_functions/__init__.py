"""Functions given to a dataset: how they are called, what they return, how they are told apart."""
