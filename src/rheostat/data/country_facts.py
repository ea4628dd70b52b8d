"""Continents of countries, and the language most used in their public life. Written for rheostat.

Left out are countries of two continents, and most of those with several languages; of some that stay (Ireland, Kenya,
Haiti) the one that is named first.
"""

COUNTRIES_BY_CONTINENT = {
    "Europe": (
        "Albania", "Austria", "Belgium", "Bulgaria", "Croatia", "Denmark", "Estonia", "Finland", "France", "Germany",
        "Greece", "Hungary", "Iceland", "Ireland", "Italy", "Latvia", "Lithuania", "Netherlands", "Norway", "Poland",
        "Portugal", "Romania", "Serbia", "Slovakia", "Slovenia", "Spain", "Sweden", "Switzerland", "Ukraine",
    ),
    "Asia": (
        "Afghanistan", "Bangladesh", "Cambodia", "China", "India", "Indonesia", "Iran", "Iraq", "Israel", "Japan",
        "Jordan", "Laos", "Lebanon", "Malaysia", "Mongolia", "Myanmar", "Nepal", "North Korea", "Pakistan",
        "Philippines", "Saudi Arabia", "South Korea", "Sri Lanka", "Syria", "Taiwan", "Thailand", "Vietnam", "Yemen",
    ),
    "Africa": (
        "Algeria", "Angola", "Cameroon", "Chad", "Congo", "Egypt", "Ethiopia", "Ghana", "Kenya", "Liberia", "Libya",
        "Madagascar", "Mali", "Morocco", "Mozambique", "Namibia", "Nigeria", "Rwanda", "Senegal", "Somalia", "Sudan",
        "Tanzania", "Tunisia", "Uganda", "Zambia", "Zimbabwe",
    ),
    "South America": (
        "Argentina", "Bolivia", "Brazil", "Chile", "Colombia", "Ecuador", "Paraguay", "Peru", "Uruguay", "Venezuela",
    ),
    "North America": (
        "Canada", "Costa Rica", "Cuba", "El Salvador", "Guatemala", "Haiti", "Honduras", "Jamaica", "Mexico",
        "Nicaragua", "Panama",
    ),
}  # fmt: skip
"""Continent → countries."""

COUNTRIES_BY_LANGUAGE = {
    "Spanish": ("Argentina", "Chile", "Colombia", "Cuba", "Ecuador", "Mexico", "Panama", "Peru", "Spain", "Venezuela"),
    "Arabic": ("Algeria", "Egypt", "Iraq", "Jordan", "Lebanon", "Libya", "Saudi Arabia", "Syria", "Tunisia", "Yemen"),
    "English": ("Australia", "England", "Ghana", "Ireland", "Jamaica", "New Zealand", "Nigeria", "Zambia"),
    "French": ("France", "Haiti", "Mali", "Senegal"), "German": ("Austria", "Germany"),
    "Portuguese": ("Angola", "Brazil", "Mozambique", "Portugal"), "Greek": ("Cyprus", "Greece"), "Italian": ("Italy",),
    "Dutch": ("Netherlands", "Suriname"), "Danish": ("Denmark",), "Swedish": ("Sweden",), "Norwegian": ("Norway",),
    "Finnish": ("Finland",), "Icelandic": ("Iceland",), "Polish": ("Poland",), "Russian": ("Russia",),
    "Ukrainian": ("Ukraine",), "Czech": ("Czech Republic",), "Hungarian": ("Hungary",), "Romanian": ("Romania",),
    "Bulgarian": ("Bulgaria",), "Croatian": ("Croatia",), "Serbian": ("Serbia",), "Albanian": ("Albania",),
    "Turkish": ("Turkey",), "Persian": ("Iran",), "Hebrew": ("Israel",), "Hindi": ("India",),
    "Bengali": ("Bangladesh",), "Nepali": ("Nepal",), "Thai": ("Thailand",), "Vietnamese": ("Vietnam",),
    "Japanese": ("Japan",), "Korean": ("North Korea", "South Korea"),
    "Mongolian": ("Mongolia",), "Swahili": ("Kenya", "Tanzania"),
    "Lithuanian": ("Lithuania",), "Latvian": ("Latvia",), "Estonian": ("Estonia",),
}  # fmt: skip
"""Language → countries where most public life is in it."""
