"""The axis `anchors`: what pulls towards the start model? One file per choice."""
