"""Surnames of 24 origins, from the lists by which Faker 40.54.0 invents people (D. Faraglia and others, MIT licence).

Taken are the locales in Latin script with 150 surnames or more, forms for men and for women alike. Locales of one
language that share names are one origin: of the shorter of two lists the Spanish ones share 49 to 72 %, those of
Great Britain, Ireland, New Zealand and the United States 28 to 76 %, German ones 13 to 43 %, French ones 2 to 31 %,
Dutch ones 9 %. Czech and Slovak share 22 % and stay two; no others share more than the 9 % of English and Spanish.
Not taken are lists of no single origin (en, which is of no country; de_LU, as French as it is German), second copies
(es_CA of es_ES, fr_QC of fr_CA), and what are no surnames (is_IS: the first names that they are made of).

Different names by origin: Algerian 294, Azerbaijani 209, Croatian 799, Czech 200, Dutch 1,528, English 3,304,
Estonian 495, Finnish 400, French 1,099, German 1,400, Ghanaian 162, Indian 538, Indonesian 173, Irish 2,379,
Italian 1,164, Kenyan 1,000, Pakistani 267, Polish 3,890, Slovak 1,771, Slovene 173, Spanish 1,635, Swedish 500,
Uzbek 198, Zulu 787; together 24,365, of which 748 names stand under several origins.
"""

from importlib import import_module

from data.names import group
from data.text import TextDataset

LOCALES = {
    "Algerian": ("fr_DZ",),
    "Azerbaijani": ("az_AZ",),
    "Croatian": ("hr_HR",),
    "Czech": ("cs_CZ",),
    "Dutch": ("nl_NL", "nl_BE"),
    "English": ("en_GB", "en_IE", "en_NZ", "en_US"),
    "Estonian": ("et_EE",),
    "Finnish": ("fi_FI",),
    "French": ("fr_FR", "fr_BE", "fr_CA", "fr_CH"),
    "German": ("de_DE", "de_AT", "de_CH"),
    "Ghanaian": ("tw_GH",),
    "Indian": ("en_IN",),
    "Indonesian": ("id_ID",),
    "Irish": ("ga_IE",),
    "Italian": ("it_IT",),
    "Kenyan": ("en_KE",),
    "Pakistani": ("en_PK",),
    "Polish": ("pl_PL",),
    "Slovak": ("sk_SK",),
    "Slovene": ("sl_SI",),
    "Spanish": ("es_ES", "es_CL", "es_CO", "es_MX"),
    "Swedish": ("sv_SE",),
    "Uzbek": ("uz_UZ",),
    "Zulu": ("zu_ZA",),
}
"""The locales of each origin."""

LISTS = {"pl_PL": ("male_last_names", "unisex_last_names")}
"""Attributes of a locale that hold surnames, where it is not ``last_names`` alone."""


def draw() -> list[tuple[str, str]]:
    """Every name of the lists with its origin, in alphabetical order within an origin."""
    pairs = []
    for origin, locales in LOCALES.items():
        names = set()
        for locale in locales:
            provider = import_module(f"faker.providers.person.{locale}").Provider
            for attribute in LISTS.get(locale, ("last_names",)):
                names.update(getattr(provider, attribute))
        pairs += [(name, origin) for name in sorted(names)]
    return pairs


DATASETS = (TextDataset(name="surnames", draw=draw, group=group),)
