"""The methods that fit a direction, one file each: what it gathers while texts stream by, and what it makes of it."""
