"""The collections of AI-Hub, which are all laid out differently."""
