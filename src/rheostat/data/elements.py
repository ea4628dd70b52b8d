"""Chemical elements and their symbols. Written for rheostat."""

ELEMENTS = {
    "hydrogen": "H", "helium": "He", "lithium": "Li", "boron": "B", "carbon": "C", "nitrogen": "N", "oxygen": "O",
    "fluorine": "F", "neon": "Ne", "sodium": "Na", "magnesium": "Mg", "aluminium": "Al", "silicon": "Si",
    "phosphorus": "P", "sulfur": "S", "chlorine": "Cl", "argon": "Ar", "potassium": "K", "calcium": "Ca",
    "titanium": "Ti", "vanadium": "V", "chromium": "Cr", "manganese": "Mn", "iron": "Fe", "cobalt": "Co",
    "nickel": "Ni", "copper": "Cu", "zinc": "Zn", "gallium": "Ga", "arsenic": "As", "selenium": "Se", "bromine": "Br",
    "krypton": "Kr", "silver": "Ag", "cadmium": "Cd", "tin": "Sn", "iodine": "I", "xenon": "Xe", "barium": "Ba",
    "tungsten": "W", "platinum": "Pt", "gold": "Au", "mercury": "Hg", "lead": "Pb", "bismuth": "Bi", "radon": "Rn",
    "radium": "Ra", "thorium": "Th", "uranium": "U", "plutonium": "Pu",
}  # fmt: skip
"""Name → symbol."""
