"""Sentences that stand for what catalogues hold, for exports that are given no texts of their own."""
# ruff: noqa: RUF001 - the Chinese texts have Chinese commas

import json

from ingest import sample

# Quantization is measured on these...
FIDELITY_TEXTS: tuple[str, ...] = (
    "A retired lighthouse keeper finds a diary that proves the harbour master lied about the storm.",
    "Two sisters open a bakery in a town that has forgotten how to celebrate.",
    "The last train out of the mountains carries a thief, a bride and a frozen violin.",
    "An accountant discovers that her quiet firm has been paying a country that does not exist.",
    "Boys build a raft from oil drums and sail it further than anyone meant them to.",
    "A detective who cannot recognise faces must find a killer among identical twins.",
    "After the flood, the village rebuilds its library before its houses.",
    "A chess prodigy stops playing at nineteen and learns to keep bees.",
    "The robot gardener of an abandoned station keeps one orange tree alive for two hundred years.",
    "A comedy of errors in a hotel where every guest has booked the same room.",
    "War correspondents share a cellar, one typewriter and a growing fear of the morning.",
    "A wolf raised by shepherds has to choose a side when winter comes early.",
    "An introduction to linear algebra with worked exercises and solutions.",
    "How to prune fruit trees: tools, seasons and the cuts that heal best.",
    "A history of salt, from Roman roads to modern kitchens.",
    "Thirty vegetarian dinners that are ready in half an hour.",
    "Learn to code in Python: variables, loops, functions and your first web scraper.",
    "The economics of small islands: tourism, fishing rights and remittances.",
    "Poems about rivers, written over forty years by one ferryman.",
    "A field guide to the mosses and lichens of northern Europe.",
    "Understanding heart failure: a handbook for patients and their families.",
    "The art of the fugue: counterpoint explained for curious listeners.",
    "Collected letters of a nineteenth-century botanist to her publisher.",
    "Negotiation for engineers: how to ask, when to wait, what to write down.",
    "Wireless noise-cancelling headphones, 30 hours of battery, USB-C, black",
    "Stainless steel water bottle 750 ml, keeps drinks cold for 24 hours",
    "Women's waterproof hiking boots, size 39, ankle support, brown leather",
    "Replacement filter for vacuum cleaner model X-220, pack of 3",
    "Children's wooden train set with 52 pieces, ages 3 and up",
    "LED desk lamp with adjustable arm and three colour temperatures",
    "Organic green tea, loose leaf, 250 g",
    "Mechanical keyboard, 87 keys, hot-swappable switches, PBT keycaps",
    "Queen size cotton bed sheets, 400 thread count, navy blue",
    "Cast iron skillet, 26 cm, pre-seasoned",
    "Central bank raises interest rates for the third time this year",
    "Local team wins the cup after a penalty shoot-out in the rain",
    "Scientists report progress on a vaccine against malaria",
    "Parliament votes to delay the new data protection law until spring",
    "Earthquake of magnitude 6.1 shakes the coast; no injuries reported",
    "Start-up raises ten million to recycle batteries from electric cars",
    "City opens its first night tram line after years of planning",
    "Opinion: why we should teach statistics before calculus",
    "Creamy mushroom risotto with thyme and parmesan",
    "Spicy lentil soup with coconut milk, lime and fresh coriander",
    "Chocolate cake without flour, with almonds and orange zest",
    "Sourdough bread for beginners: feeding, folding, baking",
    "Grilled mackerel with fennel salad and mustard dressing",
    "What is the capital of Mongolia?",
    "cheap flights to lisbon in march",
    "movie about a man who lives the same day again and again",
    "best laptop for video editing under 1500",
    "how do i remove red wine from a carpet",
    "books like the ones my grandmother read, but funnier",
    "jazz",
    "Black and white photography, a short course.",
    "Der alte Mann erzählt den Kindern am Brunnen jede Woche eine andere Geschichte.",
    "Une jeune pianiste quitte Paris pour enseigner dans un village de montagne.",
    "La receta de mi abuela para el arroz con leche y canela.",
    "一位退休的老师在山村里重新开办了一所小学。",
    "两个陌生人在开往北方的夜车上交换了彼此的秘密。",
    "不锈钢保温杯，五百毫升，适合办公室和旅行。",
    "夏の終わりに、三人の友だちが海辺の町で再会する。",
)

# ...and set up on these, so that the figures above are honest.
CALIBRATION_TEXTS: tuple[str, ...] = (
    "A young doctor arrives on a remote island and learns that nobody there has ever been ill.",
    "Four strangers inherit a circus, its debts and an elephant who refuses to perform.",
    "The pilot has one hour of fuel, no radio, and a passenger who will not say his name.",
    (
        "In a kingdom without clocks, a girl teaches the court to count the hours. The king is grateful, his "
        "ministers are not, and before the year is over the whole city is quarrelling about what an hour is worth "
        "and who may own it."
    ),
    "A practical guide to repairing old bicycles, with drawings and lists of parts.",
    "The collapse of the cod fishery: a study of policy, weather and stubbornness between 1950 and 1992.",
    "Essays on design, memory and the things we keep in drawers.",
    "Cordless drill with two 18 V batteries, charger, 40 accessories and carrying case",
    "Slim fit linen shirt, long sleeves, white, machine washable at 30 degrees",
    "Noise machine for babies: rain, heartbeat and lullabies, rechargeable",
    "Government and unions reach an agreement on railway wages after eleven days of strikes",
    "Astronomers photograph a comet that will not return for eight thousand years",
    (
        "Roast chicken with lemon, garlic and potatoes: preheat the oven to 200 °C, rub the bird with salt and butter, "
        "roast it for seventy minutes and let it rest before carving."
    ),
    "funny detective series set in scotland",
    "is it safe to run with a cold?",
    "museum",
    "Ein Handbuch für Imker mit vielen Abbildungen.",
    "Les marchés de nuit, de Bangkok à Taipei.",
    "这本书讲述了一个渔民家庭三代人的故事。",
    "无线蓝牙耳机，降噪，续航三十小时。",
)


def calibration_texts() -> list[str]:
    """What the ranges of a quantized model are taken from: the sentences above and the sample catalogue."""
    rows = [json.loads(line) for line in sample.ITEMS.read_text(encoding="utf-8").splitlines()]
    return [*CALIBRATION_TEXTS, *(f"{row['title']}. {row['text']}" for row in rows)]
