"""Names of invented people and places, mixed as they are in an Australian clinic."""

FIRST_NAMES = (
    "Aaliyah", "Aidan", "Alinta", "Amélie", "Anh", "Anneliese", "Bao", "Beatrix", "Björn",
    "Bronwyn", "Callum", "Chloë", "Clancy", "Cormac", "Daisy", "Darcy", "Delphine", "Dimitri",
    "Eleni", "Elspeth", "Fergus", "Fiona", "Françoise", "Gaurav", "Gwendolyn", "Hamish",
    "Harriet", "Imogen", "Ishaan", "Jarrah", "Jean-Luc", "José", "Kirra", "Kwame", "Lachlan",
    "Lowanna", "Mairéad", "Marlee", "Mary-Anne", "Matilda", "Nikhil", "Noëlle", "Oisín", "Olive",
    "Priya", "Quentin", "Rhiannon", "Rosalind", "Saoirse", "Søren", "Tallulah", "Thi", "Umberto",
    "Violet", "Wendell", "Xanthe", "Yasmin", "Zoë",
)  # fmt: skip

LAST_NAMES = (
    "Abernathy", "Ångström", "Banksia", "Barraclough", "Billabong", "Bright-Harrow", "Calloway",
    "Coolibah", "D'Angelo", "D'Souza", "Dandenong", "De la Cruz", "Dvořák", "Eucumbene",
    "Fairweather", "Fitzwilliam", "Gallagher-Nguyen", "García", "Goulburn", "Hartigan",
    "Ironbark", "Jankowski", "Kangaloon", "Kővári", "Lillywhite", "MacTavish", "McAllister",
    "Merriwether", "Müller", "Murrumbidgee", "N'Diaye", "Ng", "Nguyen", "O'Brien",
    "O'Shaughnessy", "Papadopoulos", "Peña", "Quilty", "Ravensworth", "Saltbush", "Şahin",
    "Singh", "Sørensen", "St. Clair", "Tran", "Underbool", "van der Merwe", "Wattlebird",
    "Wollemi", "Yarrabee", "Żeromski",
)  # fmt: skip

# First and last name go together here.
WHOLE_NAMES = (
    ("伟", "王"), ("秀英", "李"), ("小明", "陳"), ("美玲", "黃"), ("芳", "刘"),
    ("محمد", "الحسن"), ("فاطمة", "العلي"), ("ليلى", "حداد"), ("يوسف", "منصور"),
)  # fmt: skip

# City, state, post code.
PLACES = (
    ("Torquay", "VIC", "3228"), ("Byron Bay", "NSW", "2481"), ("Noosa Heads", "QLD", "4567"),
    ("Margaret River", "WA", "6285"), ("Victor Harbor", "SA", "5211"), ("Bicheno", "TAS", "7215"),
    ("Nightcliff", "NT", "0810"), ("Dickson", "ACT", "2602"), ("Mollymook", "NSW", "2539"),
)  # fmt: skip

STREETS = ("Breakwater Rd", "Longboard Ln", "Pandanus St", "Rip Curl Ave", "Tidal Tce", "Wharf Pde")
OCCUPATIONS = ("Baker", "Carpenter", "Lifeguard", "Nurse", "Shaper", "Student", "Teacher", "")
TITLES = ("Mr", "Mrs", "Ms", "Mx", "Dr", "")
