"""Access control: API keys, their scopes, and requests from other machines or pages."""
