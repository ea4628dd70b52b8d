"""Load a network unchanged and say where its parts are."""
