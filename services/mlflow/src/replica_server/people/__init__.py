"""Who may do what: names that hold, roles, guarded aliases, tokens, and a record of changes (AUTH=on)."""
