"""Commands that use the core without HTTP."""
