"""Write a realistic chat fine-tuning file of any size: python benchmarks/generate.py OUT --size 100MB.

The text is Python's own: docstrings and sources of the standard library, and sentences in eight
languages put together from the word tables below. The same seed, size and Python version give the
same bytes. The data is clean but for one line in DEFECT_EVERY, so that the findings path runs too.
"""

import argparse
import gzip
import itertools
import json
import os
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

Message = dict[str, Any]
Example = dict[str, Any]

UNITS = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
}

# Characters of all user and assistant text in one example: log-normal, cut off at LENGTH_MAX.
LENGTH_MU = 6.05
LENGTH_SIGMA = 1.36
LENGTH_MIN, LENGTH_MAX = 40, 120_000

SYSTEM_SHARE = 0.9
WEIGHT_SHARE = 0.1
TOOLS_SHARE = 0.05
DEFECT_EVERY = 10_000

# The other shapes: bytes of text in a large line, tools in an example with many, and what is
# replaced to get a line with a defect.
LARGE = 10**6
MANY_TOOLS = 50
DEFECTS = [
    ('"role": "user"', '"role": "human"'),
    ('"content"', '"contents"'),
    ('}, {"role"', '} {"role"'),
    ('"role": "user", "content": "', '"role": "user", "content": null, "text": "'),
    ('{"messages"', '{"prompt": "", "messages"'),
    ('"role": "assistant"', '"role": "assistant", "weight": 2'),
]

# A line of source text with any of these is left out: a checker is right to remark on each of them.
UNWELCOME = re.compile(
    r"\S@\S|@\w+\.|\{\{|\}\}|<\||\|>|\[/?INST\]|<</?SYS|TODO|FIXME|XXX|[\x00-\x08\x0b-\x1f\x7f]"
    r"|(?i:<insert|<your|\[your|lorem ipsum|password\s*=|secret\s*=|token\s*=|api_?key)"
)

SYSTEM_PROMPTS = [
    "You are a helpful assistant.",
    "You are a careful reader of Python code. Answer briefly and say where you are not sure.",
    "You write release notes for engineers. Use plain words, and one sentence for each change.",
    "You are the support desk of an online shop. Be polite, and never promise a date for a refund.",
    "Marv is a factual chatbot that is also sarcastic.",
    "You review pull requests. Name the bug first, then the smallest change that repairs it.",
    "Explain the documentation that you are given to somebody who has programmed for one year.",
    "You are a teacher. Ask one question back when the task is not clear, and answer it otherwise.",
    "Summarise what the user sends in at most five sentences. Keep names and numbers as they are.",
    "You translate technical text. Keep code, names of functions and units exactly as they stand.",
    "You are an assistant in an editor. Return code only, without any explanation around it.",
    "You answer questions about the standard library. Quote the signature before you explain it.",
    "Classify the message as bug, question or wish, and give your reasons in one sentence.",
    "Du bist ein freundlicher Assistent und antwortest immer auf Deutsch.",
    "Tu es un assistant précis. Réponds en français, avec un exemple quand cela aide.",
    "Ты — внимательный помощник. Отвечай по-русски, коротко и по делу.",
    "你是一个耐心的助手。请用简体中文回答，并给出一个例子。",
    "あなたは丁寧なアシスタントです。日本語で簡潔に答えてください。",
    "أنت مساعد مفيد. أجب باللغة العربية وبجمل قصيرة.",
    "Είσαι ένας χρήσιμος βοηθός. Απάντησε στα ελληνικά, σύντομα και καθαρά.",
]

QUESTIONS = [
    "What does this do, and when would I use it?",
    "Please explain the following in simple words.",
    "Summarise this for a colleague who has no time.",
    "Is there anything wrong here? I get a different result than I expected.",
    "Rewrite this so that a beginner can follow it.",
    "Which part of this matters most, and why?",
    "I found this in the documentation. Can you give me an example?",
    "How would you test this?",
    "Turn this into a short checklist.",
    "What would break if I removed this?",
    "Can you compare this with the usual way of doing it?",
    "Could you continue this in the same style?",
]

ANSWERS = [
    "Here is the short version.",
    "It depends on what you want to keep, but in most cases this is the way to do it.",
    "Good question. The important part comes first, and the details follow.",
    "This is how the documentation puts it:",
    "There are two things to know before you change it.",
    "Yes, that is expected.",
    "The following does what you describe.",
    "Start with this and adapt it to your case.",
]


class Language(NamedTuple):
    """A word table: any choice of one word from each column makes a sentence in `pattern`."""

    pattern: str
    space: str
    times: str
    subjects: str
    verbs: str
    objects: str


# Within a column the entries are separated by "|", and chosen so that every combination is grammatical.
LANGUAGES = [
    Language(
        "{time}，{subject}{verb}{object}。",
        "",
        "今天早上|上个星期|下班以后|在图书馆里|会议开始之前|雨停了以后|去年冬天|在火车上|考试结束后|晚饭之前",
        "我的同事|老师|这位工程师|邻居家的孩子|年轻的作家|图书管理员|新来的医生|我姐姐|店主|研究小组",
        "仔细看了|讨论了|重新整理了|介绍了|忘记了|找到了|修改了|比较了|记录了|分享了",
        "一份很长的报告|三张旧地图|数据库的备份|新的课程安排|城市的历史|一种简单的算法|客户的意见|几本外语书|明天的计划|实验的结果",
    ),
    Language(
        "{time}、{subject}は{object}を{verb}。",
        "",
        "昨日の夜|会議の前に|雨の日に|駅に着いてから|夏休みの間|朝早く|仕事の後で|先週の金曜日|図書館で|食事をしながら",
        "田中さん|新しい先生|隣の学生|私の友人|研究者|若い職人|担当の医師|編集者|姉|案内係",
        "ゆっくり読みました|丁寧に説明しました|全部確認しました|もう一度調べました|友達に見せました|静かに片付けました|"
        "最後まで書きました|急いで直しました|比べてみました|写真に撮りました",
        "古い地図|長い報告書|プログラムの設定|町の歴史|実験の結果|三冊の辞書|お客様の質問|旅行の計画|会議の資料|簡単な例",
    ),
    Language(
        "{time} {subject} {verb} {object}.",
        " ",
        "Вчера вечером|После работы|На прошлой неделе|Перед совещанием|Ранним утром|В библиотеке|По дороге домой|"
        "В конце месяца|Во время урока|Каждую осень",
        "мой сосед|новый инженер|старый учитель|наш редактор|молодой врач|опытный переводчик|этот исследователь|"
        "один студент|главный бухгалтер|хозяин магазина",
        "внимательно читает|подробно объясняет|сравнивает|снова проверяет|записывает|показывает коллегам|"
        "переводит|исправляет|откладывает|вспоминает",
        "длинный отчёт|результаты опыта|старую карту города|настройки программы|письмо от заказчика|историю завода|"
        "список вопросов|план поездки|простой пример|три толстых словаря",
    ),
    Language(
        "{subject} {verb} {time} {object}.",
        " ",
        "am frühen Morgen|nach der Arbeit|vor der Besprechung|in der Bücherei|an jedem Dienstag|während der Fahrt|"
        "kurz vor Mitternacht|im letzten Sommer|zwischen zwei Terminen|ohne große Mühe",
        "Die Lehrerin|Unser Nachbar|Der junge Arzt|Meine Schwester|Die Forschungsgruppe|Ein älterer Kollege|"
        "Der Übersetzer|Die Buchhändlerin|Der Geschäftsführer|Das kleine Mädchen",
        "prüfte|erklärte|verglich|übersetzte|ordnete|beschrieb|suchte|verbesserte|las|vergaß",
        "den ausführlichen Bericht|die Ergebnisse der Messung|drei alte Landkarten|die Einstellungen des Programms|"
        "das Gespräch über Größen und Maße|den Brief einer Kundin|die Geschichte der Stadt|einige fremde Wörter|"
        "den Plan für die Reise|ein einfaches Beispiel",
    ),
    Language(
        "{time}, {subject} {verb} {object}.",
        " ",
        "Hier soir|Après le déjeuner|Pendant la réunion|À la bibliothèque|La semaine dernière|Avant l’été|"
        "Très tôt le matin|Dans le train|À la fin du mois|Chaque dimanche",
        "la nouvelle élève|mon voisin|le médecin|une ingénieure|le traducteur|notre équipe|le libraire|ma sœur|"
        "un étudiant étranger|la directrice",
        "a relu|a expliqué|a comparé|a corrigé|a oublié|a retrouvé|a présenté|a traduit|a rangé|a décrit",
        "le rapport détaillé|les résultats de l’expérience|trois vieilles cartes|la configuration du logiciel|"
        "l’histoire de la région|une lettre très polie|le projet de voyage|plusieurs mots étrangers|"
        "un exemple tout simple|la liste des dépenses",
    ),
    Language(
        "{time} {verb} {subject} {object}.",
        " ",
        "في الصباح الباكر|بعد انتهاء العمل|قبل الاجتماع|في المكتبة العامة|خلال الأسبوع الماضي|في نهاية الشهر|"
        "أثناء الرحلة|كل يوم جمعة|بعد العشاء|في بداية الصيف",
        "المهندس الجديد|المعلم|جارنا|الطبيب الشاب|المترجم|صاحب المتجر|الباحث|الطالب المجتهد|مدير المشروع|أخي الكبير",
        "قرأ|شرح|راجع|كتب|وجد|ترجم|رتب|قارن|وصف|أرسل",
        "التقرير الطويل|نتائج التجربة|خريطة المدينة القديمة|إعدادات البرنامج|رسالة من العميل|تاريخ القرية|"
        "قائمة الأسئلة|خطة السفر|مثالا بسيطا|ثلاثة كتب مفيدة",
    ),
    Language(
        "{time} {subject} {verb} {object}.",
        " ",
        "Χθες το βράδυ|Μετά τη δουλειά|Πριν από τη συνάντηση|Στη βιβλιοθήκη|Την περασμένη εβδομάδα|Νωρίς το πρωί|"
        "Στο τέλος του μήνα|Κατά τη διάρκεια του ταξιδιού|Κάθε Κυριακή|Πριν από τις διακοπές",
        "η δασκάλα|ο γείτονας|ο νέος μηχανικός|η γιατρός|ο μεταφραστής|η αδελφή μου|ο φοιτητής|η ομάδα|"
        "ο βιβλιοπώλης|η διευθύντρια",
        "διάβασε|εξήγησε|σύγκρινε|διόρθωσε|έγραψε|βρήκε|μετέφρασε|τακτοποίησε|ξέχασε|περιέγραψε",
        "τη μεγάλη αναφορά|τα αποτελέσματα του πειράματος|τον παλιό χάρτη|τις ρυθμίσεις του προγράμματος|"
        "την ιστορία της πόλης|ένα ευγενικό γράμμα|το σχέδιο του ταξιδιού|μερικές ξένες λέξεις|"
        "ένα απλό παράδειγμα|τον κατάλογο των εξόδων",
    ),
    Language(
        "{time} {subject} {object} {verb}।",
        " ",
        "आज सुबह|काम के बाद|बैठक से पहले|पुस्तकालय में|पिछले सप्ताह|यात्रा के दौरान|महीने के अंत में|हर रविवार|शाम के समय|परीक्षा के बाद",
        "मेरा पड़ोसी|नया शिक्षक|एक छात्र|हमारा डॉक्टर|युवा लेखक|दुकान का मालिक|बड़ा भाई|शोधकर्ता|अनुवादक|एक पुराना मित्र",
        "ध्यान से पढ़ता है|समझाता है|फिर से जाँचता है|लिखता है|खोजता है|सबको दिखाता है|ठीक करता है|याद करता है|साझा करता है|बदलता है",
        "लंबी रिपोर्ट|प्रयोग के परिणाम|शहर का पुराना नक्शा|कार्यक्रम की सेटिंग|ग्राहक का पत्र|गाँव का इतिहास|"
        "प्रश्नों की सूची|यात्रा की योजना|एक सरल उदाहरण|तीन नई किताबें",
    ),
]


class Tool(NamedTuple):
    """A function that the model may call, with the arguments it could be called with."""

    declaration: dict[str, Any]
    choices: dict[str, list[Any]]


def _tool(
    name: str, description: str, properties: dict[str, Any], choices: dict[str, list[Any]]
) -> Tool:
    parameters = {"type": "object", "properties": properties, "required": list(choices)}
    function = {"name": name, "description": description, "parameters": parameters}
    return Tool({"type": "function", "function": function}, choices)


CITIES = [
    "Lyon",
    "München",
    "Αθήνα",
    "東京",
    "Boston",
    "Казань",
    "दिल्ली",
    "القاهرة",
    "São Paulo",
    "成都",
]
TOOLS = [
    _tool(
        "get_weather",
        "Weather of a place on one of the next days.",
        {
            "city": {"type": "string"},
            "day": {"type": "integer", "minimum": 0, "maximum": 9},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        },
        {"city": CITIES, "day": list(range(10)), "unit": ["celsius", "fahrenheit"]},
    ),
    _tool(
        "find_orders",
        "Orders of a customer, newest first.",
        {
            "customer": {"type": "integer"},
            "limit": {"type": "integer", "minimum": 1},
            "open_only": {"type": "boolean"},
        },
        {"customer": list(range(1000, 9000, 7)), "limit": [1, 5, 20], "open_only": [True, False]},
    ),
    _tool(
        "search_documentation",
        "Full-text search in the documentation; returns sections with their headings.",
        {"query": {"type": "string"}, "sections": {"type": "array", "items": {"type": "string"}}},
        {
            "query": [
                "open a file",
                "raise from",
                "sort by two keys",
                "time zones",
                "subprocess pipes",
            ],
            "sections": [["library"], ["library", "tutorial"], ["reference"], []],
        },
    ),
    _tool(
        "convert_currency",
        "Convert an amount of money at the rate of the day.",
        {
            "amount": {"type": "number"},
            "source": {"type": "string", "minLength": 3, "maxLength": 3},
            "target": {"type": "string", "minLength": 3, "maxLength": 3},
        },
        {"amount": [12.5, 99, 1250.75], "source": ["EUR", "USD"], "target": ["JPY", "CHF", "INR"]},
    ),
    _tool(
        "book_table",
        "Book a table in a restaurant.",
        {"place": {"type": "string"}, "persons": {"type": "integer"}, "time": {"type": "string"}},
        {"place": CITIES, "persons": [1, 2, 3, 4, 6], "time": ["18:30", "19:00", "20:15"]},
    ),
]


class Pool:
    """A long text of one kind, out of which messages are cut at natural places."""

    def __init__(self, text: str, start_pattern: str, boundary: str, fenced: bool = False) -> None:
        while len(text) < 4 * LENGTH_MAX:
            text += text
        self.text = text
        self.boundary = boundary
        self.fenced = fenced
        last_start = len(text) - LENGTH_MAX
        starts = (match.end() for match in re.finditer(start_pattern, text))
        self.starts = [start for start in starts if start < last_start]

    def cut(self, rng: random.Random, length: int) -> str:
        """About `length` characters from a random place, never more."""
        start = self.starts[int(rng.random() * len(self.starts))]
        end = start + length
        boundary = self.text.rfind(self.boundary, start + length // 2, end)
        piece = self.text[start : end if boundary < 0 else boundary + 1].strip()
        return piece or self.cut(rng, length)


def read_standard_library() -> list[str]:
    """The top-level modules of the standard library, in the order of their names."""
    folder = Path(os.path.dirname(os.__file__))
    paths = [
        path for path in sorted(folder.glob("*.py")) if not path.name.startswith("_sysconfigdata")
    ]
    return [path.read_text(encoding="utf-8", errors="ignore") for path in paths]


def docstrings(module: str) -> list[str]:
    """The texts between triple quotes; near enough, and much faster than parsing."""
    return [re.sub(r"\n +", "\n", text) for text in re.findall(r'"""(.+?)"""', module, re.DOTALL)]


def clean(text: str) -> str:
    """Without the lines that a checker would remark on, and without runs of blank lines."""
    lines = (line.rstrip() for line in text.replace("\t", "    ").split("\n"))
    # The few non-English lines go too: a text that is ASCII throughout can be cut much faster.
    kept = (line for line in lines if line.isascii() and not UNWELCOME.search(line))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept))


def read_topics() -> str:
    """The language reference as Python's own help() shows it."""
    try:
        from pydoc_data.topics import topics
    except ImportError:  # some systems package Python without its documentation
        return ""
    return "\n\n".join(topics[name] for name in sorted(topics))


def compose(language: Language, rng: random.Random, sentences: int) -> str:
    columns = [column.split("|") for column in language[2:]]
    paragraphs = []
    for _ in range(sentences // 5):
        chosen = ([rng.choice(column) for column in columns] for _ in range(5))
        paragraph = (
            language.pattern.format(time=time, subject=subject, verb=verb, object=thing)
            for time, subject, verb, thing in chosen
        )
        paragraphs.append(language.space.join(paragraph))
    return "\n\n".join(paragraphs)


def typographic(text: str) -> str:
    """The same prose as a word processor or a language model would set it."""
    text = text.replace(" -- ", " — ").replace("...", "…").replace("'", "’")
    return re.sub(r'"([^"\n]*)"', r"“\1”", text)


def make_pools(rng: random.Random) -> list[tuple[float, Pool]]:
    """The pools, each with its share of the examples."""
    modules = read_standard_library()
    source = clean("\n".join(modules))
    texts = [text for module in modules for text in docstrings(module)]
    prose = clean("\n\n".join([*texts, read_topics()]))
    pools = [
        (0.42, Pool(prose, r"\n\n", "\n")),
        (0.18, Pool(typographic(prose), r"\n\n", "\n")),
        (0.25, Pool(source, r"\n(?=def |class |    def )", "\n", fenced=True)),
    ]
    for language in LANGUAGES:
        end = language.pattern[-1]
        text = compose(language, rng, 4000)
        pools.append((0.15 / len(LANGUAGES), Pool(text, f"{re.escape(end)}\\s*", end)))
    return pools


class Generator:
    """An endless stream of examples, the same for the same seed."""

    def __init__(self, seed: int, with_tools: bool = True) -> None:
        self.rng = random.Random(seed)
        self.with_tools = with_tools
        pools = make_pools(self.rng)
        self.pools = [pool for _, pool in pools]
        self.cumulated_shares = list(itertools.accumulate(share for share, _ in pools))

    def examples(self) -> Iterator[Example]:
        for number in itertools.count(1):
            if self.with_tools and self.rng.random() < TOOLS_SHARE:
                yield self.tool_example(number)
            else:
                yield self.plain_example(number)

    def plain_example(self, number: int) -> Example:
        rng = self.rng
        messages = self.opening()
        pool = self.pick_pool()
        turns = 1 + (rng.random() < 0.4) + (rng.random() < 0.3)
        length = self.pick_length() // turns
        for turn in range(turns):
            asked = int(length * (0.1 + 0.5 * rng.random()))
            # The number makes every prompt, and so every example, unlike all others.
            ticket = f" (ticket {number})" if turn == 0 else ""
            messages.append({"role": "user", "content": self.question(pool, asked, ticket)})
            messages.append({"role": "assistant", "content": self.answer(pool, length - asked)})
        if rng.random() < WEIGHT_SHARE:
            self.add_weights(messages)
        return {"messages": messages}

    def tool_example(self, number: int) -> Example:
        rng = self.rng
        tools = rng.sample(TOOLS, rng.randint(1, 3))
        called = tools[: rng.randint(1, 2)]
        pool, length = self.pick_pool(), self.pick_length()
        calls = [self.tool_call(tool) for tool in called]
        messages = self.opening()
        messages.append(
            {"role": "user", "content": self.question(pool, length // 4, f" (ticket {number})")}
        )
        messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        for call in calls:
            result = json.dumps(
                {"status": "ok", "text": pool.cut(rng, 20 + length // 8)}, ensure_ascii=False
            )
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
        messages.append({"role": "assistant", "content": self.answer(pool, length // 2)})
        example: Example = {"messages": messages, "tools": [tool.declaration for tool in tools]}
        if rng.random() < 0.5:
            example["parallel_tool_calls"] = len(calls) > 1
        return example

    def tool_call(self, tool: Tool) -> dict[str, Any]:
        arguments = {name: self.rng.choice(values) for name, values in tool.choices.items()}
        function = {
            "name": tool.declaration["function"]["name"],
            "arguments": json.dumps(arguments, ensure_ascii=False),
        }
        return {
            "id": f"call_{self.rng.getrandbits(64):016x}",
            "type": "function",
            "function": function,
        }

    def opening(self) -> list[Message]:
        if self.rng.random() >= SYSTEM_SHARE:
            return []
        # Squaring makes the first prompts much more frequent than the last, as in real files.
        prompt = SYSTEM_PROMPTS[int(self.rng.random() ** 2 * len(SYSTEM_PROMPTS))]
        return [{"role": "system", "content": prompt}]

    def pick_pool(self) -> Pool:
        return self.rng.choices(self.pools, cum_weights=self.cumulated_shares)[0]

    def pick_length(self) -> int:
        return min(LENGTH_MAX, LENGTH_MIN + int(self.rng.lognormvariate(LENGTH_MU, LENGTH_SIGMA)))

    def question(self, pool: Pool, length: int, ticket: str) -> str:
        opening = QUESTIONS[int(self.rng.random() * len(QUESTIONS))] + ticket
        return opening if length < 40 else f"{opening}\n\n{pool.cut(self.rng, length)}"

    def answer(self, pool: Pool, length: int) -> str:
        text = pool.cut(self.rng, max(length, 10))
        if pool.fenced:
            text = f"```python\n{text}\n```"
        if length < 200 or self.rng.random() < 0.5:
            return text
        return f"{ANSWERS[int(self.rng.random() * len(ANSWERS))]}\n\n{text}"

    def add_weights(self, messages: list[Message]) -> None:
        """The last answer is always trained on, an earlier one half of the time."""
        for message in messages:
            if message["role"] == "assistant":
                message["weight"] = self.rng.randint(0, 1)
        messages[-1]["weight"] = 1


def lines(generator: Generator, ascii_only: bool, with_defects: bool) -> Iterator[str]:
    """One JSON text per example; a fixed line in every DEFECT_EVERY has one of three defects."""
    encode = json.JSONEncoder(ensure_ascii=ascii_only).encode
    earlier = ""
    for index, example in enumerate(generator.examples()):
        line = encode(example)
        position = index % DEFECT_EVERY
        if position == 0:
            earlier = line
        if with_defects and position == DEFECT_EVERY // 2:
            line = spoil(line, index // DEFECT_EVERY, earlier)
        yield line


def spoil(line: str, kind: int, earlier: str) -> str:
    if kind % 3 == 0:
        return line.replace('"role": "user"', '"role": "human"', 1)
    if kind % 3 == 1:
        return line.replace("}, {", "} {", 1)
    return earlier


def small_lines(generator: Generator) -> Iterator[str]:
    """Lines of about 100 bytes."""
    encode = json.JSONEncoder(separators=(",", ":")).encode
    kinds = ["bug", "wish", "question"]
    for number in itertools.count(1):
        messages = [
            {"role": "user", "content": f"Ticket {number}"},
            {"role": "assistant", "content": generator.rng.choice(kinds)},
        ]
        yield encode({"messages": messages})


def large_lines(generator: Generator) -> Iterator[str]:
    """Lines of about 1 MB: conversations of hundreds of messages."""
    encode = json.JSONEncoder(ensure_ascii=False).encode
    for number in itertools.count(1):
        messages = generator.opening()
        length = 0
        while length < LARGE:
            answer = generator.pick_pool().cut(generator.rng, 4_000)
            asked = generator.question(generator.pick_pool(), 400, f" (ticket {number}, {length})")
            messages.append({"role": "user", "content": asked})
            messages.append({"role": "assistant", "content": answer})
            length += len(asked.encode()) + len(answer.encode())
        yield encode({"messages": messages})


def tool_lines(generator: Generator) -> Iterator[str]:
    """Examples that declare `MANY_TOOLS` tools and call some of them."""
    encode = json.JSONEncoder(ensure_ascii=False).encode
    for number in itertools.count(1):
        example = generator.tool_example(number)
        for index in range(MANY_TOOLS - len(example["tools"])):
            tool = generator.rng.choice(TOOLS).declaration["function"]
            function = {**tool, "name": f"{tool['name']}_{index}"}
            example["tools"].append({"type": "function", "function": function})
        yield encode(example)


def defective_lines(generator: Generator) -> Iterator[str]:
    """Lines that have a defect each: see `DEFECTS`."""
    examples = (json.dumps(example, ensure_ascii=False) for example in generator.examples())
    for number, line in enumerate(examples):
        old, new = DEFECTS[number % len(DEFECTS)]
        yield line.replace(old, new, 1)


SHAPES = {
    "small": small_lines,
    "large": large_lines,
    "tools": tool_lines,
    "defects": defective_lines,
}
"""Shapes other than conversations."""


def write(path: Path, size: int, source: Iterator[str]) -> int:
    """Write lines until there are `size` bytes, compressed if the name says so; the number of lines."""
    written = 0
    count = 0
    with (
        gzip.open(path, "wb", compresslevel=6)
        if path.suffix == ".gz"
        else path.open("wb", buffering=1 << 20)
    ) as file:
        for line in source:
            if written >= size:
                break
            written += file.write(line.encode() + b"\n")
            count += 1
    return count


def parse_size(text: str) -> int:
    """Bytes in a size such as 100MB, 1GiB or 5000."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Z]*)", text.strip().upper())
    if not match or match[2] not in UNITS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; write it as 100MB or 1GB")
    return int(float(match[1]) * UNITS[match[2]])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path, help="the file to write")
    parser.add_argument(
        "--size", type=parse_size, default=parse_size("100MB"), help="default: 100MB"
    )
    parser.add_argument("--seed", type=int, default=1, help="default: 1")
    parser.add_argument(
        "--ascii", action="store_true", help="escape everything beyond ASCII as \\uXXXX"
    )
    parser.add_argument("--shape", choices=SHAPES, help="default: conversations")
    parser.add_argument("--no-tools", action="store_true", help="no example with tools")
    parser.add_argument("--no-defects", action="store_true", help="no defective line")
    arguments = parser.parse_args()
    if arguments.shape and (arguments.ascii or arguments.no_defects):
        parser.error("--shape cannot be combined with --ascii or --no-defects")
    generator = Generator(arguments.seed, with_tools=not arguments.no_tools)
    if arguments.shape:
        source = SHAPES[arguments.shape](generator)
    else:
        source = lines(generator, arguments.ascii, with_defects=not arguments.no_defects)
    count = write(arguments.out, arguments.size, source)
    print(f"{arguments.out}: {arguments.out.stat().st_size} bytes", file=sys.stderr)
    print(count)


if __name__ == "__main__":
    main()
