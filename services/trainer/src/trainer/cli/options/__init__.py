"""The options of the commands: a module for what each is about."""
