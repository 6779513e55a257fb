"""A city that does not exist: invented entities of the four base resources and their plausible histories."""
