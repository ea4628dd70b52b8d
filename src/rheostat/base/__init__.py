"""What every other folder may use: errors, files, names, result shapes. Knows nothing of models."""
