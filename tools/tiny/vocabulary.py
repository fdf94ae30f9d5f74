"""The words fovea-tiny knows: things, colours, shapes, button labels, and the phrases around them."""
import xml.etree.ElementTree as ElementTree

CLDR = "/usr/share/unicode/cldr/common/annotations/en.xml"

EMOJI = (
    "🐶🐱🐮🐷🦁🦊🐼🐨🐸🐵🐰🐧🦉🐘🐢🐍🐟🐙🦋🐌🐝🐋🦆"  # animals
    "🍎🍌🍓🍉🍋🍍🥕🍕🍔🍞🥚🍪🌻🌹🌷🌵🍄🌲"  # food and plants
    "🏠🚗🚌🚲🚀🔑🔔🎸🥁📷📺💻👑🎈🎁🏆🏀🔨"  # made things
    "🕯👻🤖💀🔥🌈⛄🌂🪑🚪🧦👖🎩"
)
RENAMED = {  # where the CLDR short name is long or unusual
    "automobile": "car", "honeybee": "bee", "spouting whale": "whale", "red apple": "apple",
    "evergreen tree": "tree", "wrapped gift": "gift", "closed umbrella": "umbrella",
    "top hat": "hat", "snowman without snow": "snowman", "hamburger": "burger", "socks": "sock",
    "jeans": "trousers", "spiral shell": "shell",
}
PLURALS = {
    "fish": "fish", "butterfly": "butterflies", "strawberry": "strawberries", "fox": "foxes",
    "cactus": "cacti", "octopus": "octopuses", "bus": "buses", "trousers": "trousers",
    "cross": "crosses",
}
COLOURS = {
    "red": (222, 36, 36), "orange": (250, 140, 20), "yellow": (250, 220, 30),
    "green": (40, 160, 60), "blue": (40, 90, 220), "purple": (130, 50, 180),
    "pink": (250, 130, 190), "brown": (125, 75, 35), "black": (20, 20, 20),
    "white": (248, 248, 248), "grey": (130, 130, 130),
}
SHAPES = ["circle", "square", "triangle", "star", "heart", "diamond", "cross", "ring"]
BUTTONS = [
    "OK", "Cancel", "Save", "Open", "Close", "Next", "Back", "Send", "Yes", "No", "Start", "Stop",
    "Help", "Search", "Login", "Delete",
]
WORDS = """
cat dog sun moon star tree house car bus train ship key bell ball book door lamp table chair bread
milk water fire snow rain wind cloud river stone sand grass leaf apple lemon peach grape sugar salt
honey tea coffee cup plate fork spoon knife red green blue black white pink gold open close start
stop go yes no left right up down hot cold new old big small fast slow day night time year week
north south east west exit enter push pull sale free shop bank hotel park road street city town
king queen music dance game play work read write sing jump walk run swim love hope peace dream
hello world happy smile light magic power robot space rocket planet earth ocean beach island summer
winter spring autumn friend family sister mother father baby zero one two three four five six seven
eight nine ten quick brown fox lazy over jazz box quiz wave vivid yellow orange purple ticket
""".split()


def emoji_names() -> dict[str, str]:
    """Emoji character -> short English name, from the CLDR annotations (Debian: unicode-cldr-core)."""
    wanted = set(EMOJI)
    names = {}
    for node in ElementTree.parse(CLDR).getroot().iter("annotation"):
        if node.get("type") == "tts" and node.get("cp") in wanted:
            name = node.text.removesuffix(" face")
            names[node.get("cp")] = RENAMED.get(name, name)
    return {e: names[e] for e in EMOJI if e in names}


NAME_OF_EMOJI = emoji_names()
THINGS = list(NAME_OF_EMOJI.values()) + SHAPES  # what a picture can hold and a question can ask for
CLASSES = ["background"] + THINGS + BUTTONS  # what one image token can be trained to see
COLOUR_NAMES = list(COLOURS)


def plural(name: str) -> str:
    return PLURALS.get(name, name + "s")


def with_article(name: str) -> str:
    if name == "trousers":
        return name
    return ("an " if name[0] in "aeiou" and not name.startswith("uni") else "a ") + name


FRAME_WORDS = """
What what Where where Which which How how Is is it It Read read Point point Click click Tell tell
Describe describe Find find Show show Name name Press press Count count The the There there A a An
an I see See This this that in In on of or and to at no No none not are am was do does you your say
says many much left right above below top bottom middle top-left colour color colours shape picture
image text word line button buttons thing things object objects here Here with me he Hello hello Hi
hi Who who Fovea tiny model can help please Please Answer answer one all it's here's
""".split()
