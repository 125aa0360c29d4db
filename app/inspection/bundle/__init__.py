"""What a bundle is, and the self-test of a loaded one."""
