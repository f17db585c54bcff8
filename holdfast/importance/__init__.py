"""How much each part of a model matters."""
