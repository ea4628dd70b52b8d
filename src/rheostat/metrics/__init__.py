"""Numbers about outputs: pads never count."""
