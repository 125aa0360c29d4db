"""The bundle's schema and loader, and the self-test's comparisons."""
