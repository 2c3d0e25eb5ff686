"""The command lines: a module per command, its dataclass the options."""
