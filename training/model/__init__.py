"""The network, its losses and its fit."""
