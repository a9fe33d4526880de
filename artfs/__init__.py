"""Versioned artifacts as a filesystem."""
