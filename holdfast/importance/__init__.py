"""How much each part of a model matters, for the task and for general knowledge: measures, the probe and the stage."""
