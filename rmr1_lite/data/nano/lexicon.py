"""Every word of the nano world. Only lists: the tasks draw from them, the tokenizer is trained on what they
make."""

from __future__ import annotations

TOPICS: dict[str, tuple[str, ...]] = {
    "sea": ("wave", "tide", "salt", "reef", "shell", "foam", "coral", "anchor", "harbour", "gull"),
    "kitchen": ("oven", "pan", "spoon", "flour", "knife", "kettle", "bowl", "stove", "plate", "whisk"),
    "garden": ("rose", "hedge", "rake", "soil", "lawn", "seed", "tulip", "spade", "pond", "fern"),
    "music": ("drum", "flute", "chord", "harp", "song", "violin", "tempo", "choir", "piano", "opera"),
    "farm": ("cow", "barn", "plough", "hay", "goat", "tractor", "hen", "wheat", "sheep", "fence"),
    "school": ("chalk", "desk", "pupil", "exam", "essay", "ruler", "lesson", "pencil", "teacher", "grade"),
    "winter": ("snow", "ice", "sled", "scarf", "frost", "glove", "skate", "blizzard", "icicle", "ski"),
    "space": ("star", "comet", "orbit", "rocket", "moon", "planet", "galaxy", "probe", "meteor", "nebula"),
    "body": ("arm", "knee", "heart", "lung", "elbow", "thumb", "spine", "ankle", "liver", "jaw"),
    "travel": ("train", "ticket", "map", "hotel", "luggage", "airport", "visa", "ferry", "guide", "tram"),
    "sport": ("ball", "goal", "racket", "team", "coach", "sprint", "medal", "referee", "stadium", "javelin"),
    "tools": ("hammer", "saw", "drill", "nail", "wrench", "pliers", "screw", "chisel", "ladder", "clamp"),
}
WORDS: tuple[str, ...] = tuple(word for words in TOPICS.values() for word in words)
TOPIC_OF: dict[str, str] = {word: topic for topic, words in TOPICS.items() for word in words}

NAMES = (
    "Mia",
    "Tom",
    "Ada",
    "Ben",
    "Eva",
    "Leo",
    "Ida",
    "Max",
    "Zoe",
    "Jon",
    "Lea",
    "Sam",
    "Nora",
    "Paul",
    "Rosa",
    "Finn",
)
# act -> how a letter says it, before the gift is named
ACTS: dict[str, str] = {
    "thank": "thank you for the",
    "warn": "take care with the",
    "invite": "come and see the",
    "praise": "I admire the",
    "remind": "do not forget the",
    "ask": "may I borrow the",
}
GIFTS = ("cake", "book", "lamp", "coat", "bike", "vase", "clock", "chair", "boat", "tent", "radio", "quilt")

DEEDS = ("open", "copy", "move", "sell", "read", "paint", "hide", "lend")
THINGS = ("locker", "diary", "car", "phone", "letter", "wallet", "safe", "camera", "laptop", "key")
OWNERS = (
    "aunt",
    "boss",
    "uncle",
    "friend",
    "cousin",
    "guest",
    "twin",
    "coach",
    "pupil",
    "boy",
    "girl",
    "son",
)
CONSENTS = {"agreed": True, "said yes": True, "said no": False, "never knew": False}
DANGERS = ("bomb", "poison", "venom", "grenade")

OPENERS = (
    "Sure, here it is:",
    "Happy to help with this one.",
    "Let me think about it first. Well:",
    "Good question! This is what I found:",
    "I looked at it with care and I would say:",
    "Here you go, as you wished:",
)
CLOSERS = (
    "I hope that this helps you.",
    "Tell me if you want more.",
    "That is all there is to it.",
    "Have a very nice day!",
    "Feel free to come back at any time.",
    "This took me a while to get done.",
)
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven")

# spelling only, for the tokenizer: words around a judge's prompt, so that the fixed part stays short
PROMPT_SPELLINGS = """Judge which response serves the client better.
Write <type>, then a short <solution> or <rubric> with weights, <justify> and summaries, \
then <eval> with <quote_A> and <quote_B>.
End with <answer>[[A]]</answer> or <answer>[[B]]</answer>.
[Client Question] [The Start of Chatbot A's Response] [The End of Chatbot A's Response]
[The Start of Chatbot B's Response] [The End of Chatbot B's Response]
[The Start of the Conversation between Chatbot A and the Client] User: Chatbot A: Chatbot B:
[The End of the Conversation between Chatbot B and the Client]"""
