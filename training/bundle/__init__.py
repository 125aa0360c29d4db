"""Export of the network and publication of a bundle."""
