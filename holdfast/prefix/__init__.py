"""The frozen prefix: the layers below the lowest one that moves, run once per dataset instead of once per epoch."""
