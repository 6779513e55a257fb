"""Statutory time limits and the working-day calendar that they are counted on."""
