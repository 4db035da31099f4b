"""The network: a timm backbone, a neck, Adaptive Scale Fusion and the DB head."""
