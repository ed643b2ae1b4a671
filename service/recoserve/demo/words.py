"""The words of the made-up library: genres with the words of their titles, towns, and names of authors."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Genre:
    """A genre, the genre that many of its books belong to as well, and the words of its titles."""

    name: str
    neighbour: str
    adjectives: tuple[str, ...]
    nouns: tuple[str, ...]


GENRES = (
    Genre(
        "Fantasy",
        "Adventure",
        ("Moss-Crowned", "Half-Tamed", "Ember-Eyed", "Unsung", "Thistledown", "Silver-Tongued", "Borrowed", "Seventh"),
        ("Hedge Dragon", "Wandmaker", "Goblin Ledger", "Oak Queen", "Riddle Stone", "Moonherd", "Bramble Court", "Runekeeper"),
    ),
    Genre(
        "Mystery",
        "History",
        ("Misplaced", "Left-Handed", "Twice-Locked", "Unposted", "Velvet", "Crooked", "Silent", "Borrowed"),
        ("Inkwell", "Alibi", "Umbrella", "Organist", "Pawn Ticket", "Telegram", "Butler", "Cellar Key"),
    ),
    Genre(
        "Science Fiction",
        "Adventure",
        ("Slow", "Orbital", "Second-Hand", "Weightless", "Recursive", "Sleepless", "Distant", "Glass"),
        ("Starfreighter", "Android", "Terraformer", "Signal", "Probability Engine", "Airlock", "Comet", "Colony"),
    ),
    Genre(
        "Romance",
        "Humour",
        ("Rain-Soaked", "Reluctant", "Apricot", "Late-Summer", "Second", "Handwritten", "Barefoot", "Unlikely"),
        ("Waltz", "Proposal", "Love Letter", "Rendezvous", "Sweetheart", "Bookshop Kiss", "Honeymoon", "Valentine"),
    ),
    Genre(
        "History",
        "Travel",
        ("Forgotten", "Copper", "Besieged", "Gilded", "Salt-Stained", "Patient", "Exiled", "Tallow"),
        ("Mapmaker", "Harbour Guild", "Dynasty", "Archive", "Chronicle", "Weaver", "Parliament", "Mint"),
    ),
    Genre(
        "Nature",
        "Poetry",
        ("Tidal", "Lichen", "Migrating", "Wintering", "Hollow", "Feathered", "Root-Deep", "Patient"),
        ("Heron", "Meadow", "Peat Bog", "Otter", "Orchard", "Beehive", "Snowmelt", "Hedgerow"),
    ),
    Genre(
        "Cooking",
        "Travel",
        ("Buttered", "Slow-Baked", "Peppery", "Sunday", "Overflowing", "Pickled", "Midnight", "Golden"),
        ("Dumpling", "Larder", "Sourdough", "Soup Pot", "Plum Cake", "Spice Tin", "Picnic", "Noodle Cart"),
    ),
    Genre(
        "Travel",
        "Nature",
        ("Unhurried", "Wrong", "Overnight", "Dusty", "Northbound", "Rattling", "Roundabout", "Last"),
        ("Ferry", "Sleeper Train", "Caravan", "Mountain Pass", "Timetable", "Postcard", "Suitcase", "Footpath"),
    ),
    Genre(
        "Ghost Stories",
        "Mystery",
        ("Whispering", "Candlelit", "Drowned", "Pale", "Creaking", "Uninvited", "Shuttered", "Fog-Bound"),
        ("Nursery", "Séance", "Lodger", "Bell Tower", "Portrait", "Attic", "Graveyard Shift", "Governess"),
    ),
    Genre(
        "Adventure",
        "Fantasy",
        ("Runaway", "Sunken", "Reckless", "Monsoon", "Stolen", "Thousand-Mile", "Iron", "Uncharted"),
        ("Schooner", "Expedition", "Treasure Chart", "Smuggler", "Rope Bridge", "Volcano", "Castaway", "Compass"),
    ),
    Genre(
        "Humour",
        "Romance",
        ("Inflatable", "Deeply Average", "Overdressed", "Flat-Pack", "Emergency", "Accidental", "Disobedient", "Tuesday"),
        ("Goose", "Committee", "Caravan Club", "Trombone", "In-Law", "Vicar", "Biscuit Tin", "Moustache"),
    ),
    Genre(
        "Poetry",
        "Nature",
        ("Unrhymed", "Small", "Blue", "Wakeful", "Seven", "Paper", "Unfinished", "Tender"),
        ("Odes", "Elegies", "Lullabies", "Sonnets", "Verses", "Haiku", "Couplets", "Ballads"),
    ),
)

TOWNS = (
    "Quillhaven", "Marrowby", "Upper Fennick", "Tansy Hollow", "Brackwater", "Osselby", "Dunmarrow", "Larkmere",
    "Port Evenlode", "Saltmarrow", "Wimberley Cross", "Thornaby Sound", "Pellucid Bay", "Hathersedge", "Cobblewick", "Nettlecombe",
)  # fmt: skip

FIRST_NAMES = (
    "Odalys", "Bertil", "Marigold", "Tomasz", "Ines", "Oluwaseun", "Perpetua", "Hiroko", "Leopold", "Anneke", "Rafiq", "Clementine",
    "Yusuf", "Saoirse", "Dagny", "Emeka", "Valentina", "Cosmo", "Mei-Lin", "Rosalind", "Idris", "Philippa", "Aurelio", "Noor",
)  # fmt: skip

LAST_NAMES = (
    "Thistlewood", "Vandermoor", "Okonjo-Bright", "Pemberwick", "Castellane", "Halvorsgaard", "Nakagiri", "Quillfeather",
    "Ferncastle", "Marchbanks", "Zielonka", "Abernethy-Cole", "Moonray", "Larkspur", "Dellacorte", "Winterbourne",
    "Osterhagen", "Plumtree", "Rahimzade", "Saltonstall", "Tarrowby", "Umberfield", "Greywether", "Inkpen",
)  # fmt: skip
