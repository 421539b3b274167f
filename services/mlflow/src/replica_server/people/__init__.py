"""Who may do what: names that hold, roles, grants, guarded aliases, tokens, and a record of changes (AUTH=on)."""
