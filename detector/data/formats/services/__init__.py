"""Answers of text recognition services, as first labels."""
