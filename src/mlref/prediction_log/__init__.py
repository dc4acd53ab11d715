"""The prediction log: a database of what was predicted, what was refused, and what turned out true."""
